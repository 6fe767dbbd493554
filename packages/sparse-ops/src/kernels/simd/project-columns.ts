/** @file A frozen linear layer with its branch on top of a residual stream, in two jobs each way: o of a decoder layer. */
import type * as tf from '@tensorflow/tfjs';
import {
  addBranchParameters,
  blocksOfRows,
  branchesOf,
  callBranch,
  callBranchGradient,
  callH,
  transposedBranches,
} from './branches.js';
import type { SimdRun } from './module.js';
import { addProduct, biasOf, callProduct, eachPart, type Product, whole } from './products.js';
import { doraNorms, rescaled, rescaledGradient } from './rescale.js';

const FLOAT = 4;

/** y, then h, z and norms as far as there are any. */
export const projectColumns: SimdRun<'SpftProjectColumns'> = (call, { x, residual }, { layer, denseRows }) => {
  const { pool } = call;
  const { weight, keep, lora } = layer;
  const [T, k] = x!.shape as [number, number];
  const n = weight.shape[0]!;
  const D = keep ? denseRows : T;
  const y = call.output([T, n]);
  const found = branchesOf(call, [layer]);
  const branches = found && transposedBranches(call, found);
  const h = branches && call.output([T, branches.width]);
  const sparse = keep && D < T ? { list: call.at(keep.indices), at: call.scratch((T - D) * keep.kept) } : null;
  const bias = biasOf(call, layer.bias ?? undefined);
  const [input, c, hAt] = [whole(call, x!), whole(call, y), h ? call.at(h) : 0];
  // What a magnitude rescales is without the residual.
  const residualAt = lora?.magnitude ? 0 : call.at(residual!);
  for (const rows of blocksOfRows(call, T, D)) {
    const [from, to] = rows;
    if (branches) {
      callH(call, branches, input.at, hAt, rows);
      callBranch(call, branches, 0, hAt, c.at, residualAt, rows);
      if (bias) pool.call('addRow', bias.at, c.at + FLOAT * from * n, to - from, n);
    }
    if (sparse && from >= D) {
      const place = sparse.at + FLOAT * (from - D) * keep!.kept;
      pool.call('gatherColumns', input.at + FLOAT * from * k, k, sparse.list, keep!.kept, place, to - from);
    }
    pool.endChunk();
  }
  pool.run();
  const added = branches ? c : { at: residualAt, stride: n };
  const b = whole(call, weight as tf.TensorInfo, true);
  const products: Product[] = [{ m: D, k, n, a: input, b, c, added }];
  if (sparse) {
    const below = (at: number) => ({ at: at + FLOAT * D * n, stride: n });
    products.push({
      ...{ m: T - D, k: keep!.kept, n, a: { at: sparse.at, stride: keep!.kept } },
      ...{ b: { ...b, columns: sparse.list }, c: below(c.at), added: below(added.at) },
    });
  }
  for (const product of products) addProduct(call, product);
  pool.run();
  if (bias && !branches) {
    pool.call('addRow', bias.at, c.at, T, n);
    pool.endChunk();
    pool.run();
  }
  if (!h) return [y];
  if (!lora?.magnitude) return [y, h];
  const norms = doraNorms(call, weight as tf.TensorInfo, lora);
  return [rescaled(call, y, lora.magnitude as tf.TensorInfo, norms, residual!), h, y, norms];
};

/** dx, then dA, dB and perhaps dmagnitude. */
export const projectColumnsGrad: SimdRun<'SpftProjectColumnsGrad'> = (call, inputs, { layer, denseRows }) => {
  const { pool } = call;
  const { weight, keep, lora } = layer;
  const { x, dy, h } = inputs;
  const [T, width] = x!.shape as [number, number];
  const k = weight.shape[0]!;
  const D = keep ? denseRows : T;
  const through = lora?.magnitude
    ? rescaledGradient(call, dy!, inputs.z0!, lora.magnitude as tf.TensorInfo, inputs.norms0!)
    : null;
  const dx = call.output([T, width]);
  const branches = branchesOf(call, [layer]);
  const gradients = (branches?.all ?? []).map(({ a, b }) => [call.output(a.shape), call.output(b.shape)] as const);
  const dh = branches ? call.scratch(T * branches.width) : 0;
  const sparse = keep && D < T ? { list: call.at(keep.indices), at: call.scratch((T - D) * keep.kept) } : null;
  const dz = through ? through.dz : call.at(dy!);
  const dxAt = call.at(dx);
  if (branches) {
    for (const rows of blocksOfRows(call, T, D)) {
      callBranchGradient(call, branches, [dz], dh, dxAt, rows);
      pool.endChunk();
    }
    pool.run();
    if (h) addBranchParameters(call, branches, gradients, [call.at(x!), call.at(h), dh], [dz], T);
  } else if (sparse) call.values(dx).fill(0, D * width);
  const c = { at: dxAt, stride: width };
  const b = whole(call, weight as tf.TensorInfo);
  addProduct(call, { m: D, k, n: width, a: { at: dz, stride: k }, b, c, added: branches ? c : null });
  if (sparse) {
    const { list, at } = sparse;
    const { kept } = keep!;
    const a = { at: dz + FLOAT * D * k, stride: k };
    const part: Product = { m: T - D, k, n: kept, a, b: { ...b, columns: list }, c: { at, stride: kept } };
    eachPart(call, part, (rows, columns) => {
      callProduct(call, part, rows, columns);
      const [i, j] = [rows[0], columns[0]];
      const [from, to] = [at + FLOAT * (i * kept + j), dxAt + FLOAT * (D + i) * width];
      pool.call('addColumnsAt', from, FLOAT * kept, list + FLOAT * j, columns[1] - j, to, FLOAT * width, rows[1] - i);
    });
  }
  pool.run();
  return [dx, ...gradients.flat(), ...(through ? [through.dm] : [])];
};
