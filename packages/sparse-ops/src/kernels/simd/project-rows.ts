/** @file Several frozen linear layers of one input with their branches, in two jobs each way: q, k and v of a decoder layer. */
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
import { addProduct, biasOf, callProduct, eachPart, keptBiasOf, type Product, whole } from './products.js';
import { doraNorms, rescaled, rescaledGradient } from './rescale.js';

const FLOAT = 4;

/** y of each layer, then h, and z and norms of each layer with a magnitude. */
export const projectRows: SimdRun<'SpftProjectRows'> = (call, { x }, { layers, denseRows }) => {
  const { pool } = call;
  const [T, k] = x!.shape as [number, number];
  const D = layers.some(({ keep }) => keep) ? denseRows : T;
  const ys = layers.map(({ weight }) => call.output([T, weight.shape[0]!]));
  const found = branchesOf(call, layers);
  const branches = found && transposedBranches(call, found);
  const h = branches && call.output([T, branches.width]);
  const input = whole(call, x!);
  const biases = layers.map(({ bias }) => biasOf(call, bias ?? undefined));
  // Of sparse rows, what the products of kept channels are, before they are added where they belong.
  const sparse = layers.map(({ bias, keep }, n) => {
    if (!keep || D === T) return null;
    const added = keptBiasOf(call, bias ?? undefined, keep.indices as tf.TensorInfo);
    if (!branches?.of[n]) call.at(ys[n]!);
    return { added, kept: keep.kept, list: call.at(keep.indices), at: call.scratch((T - D) * keep.kept) };
  });
  sparse.forEach((of, n) => {
    // Without a branch dropped channels are nothing at all.
    if (of && !branches?.of[n]) call.values(ys[n]!).fill(0, D * ys[n]!.shape[1]!);
  });
  const places = ys.map((y) => whole(call, y));
  if (branches && h) {
    const hAt = call.at(h);
    for (const rows of blocksOfRows(call, T, D)) {
      callH(call, branches, input.at, hAt, rows);
      for (const { layer, out } of branches.all) {
        callBranch(call, branches, layer, hAt, places[layer]!.at, 0, rows);
        const [bias, from] = [biases[layer], rows[0]];
        // Of sparse rows a bias counts where the channel is kept.
        if (bias && !(from >= D && sparse[layer])) {
          pool.call('addRow', bias.at, places[layer]!.at + FLOAT * from * out, rows[1] - from, out);
        }
      }
      pool.endChunk();
    }
    pool.run();
  }
  layers.forEach(({ weight }, n) => {
    const [of, c] = [sparse[n], places[n]!];
    const out = weight.shape[0]!;
    const product = { k, a: input, b: whole(call, weight as tf.TensorInfo, true) };
    addProduct(call, { ...product, m: of ? D : T, n: out, c, added: branches?.of[n] ? c : biases[n]! });
    if (!of) return;
    const { kept, list, at, added } = of;
    const part: Product = {
      ...{ m: T - D, k, n: kept, a: { ...input, at: input.at + FLOAT * D * k } },
      ...{ b: { ...product.b, rows: list }, c: { at, stride: kept }, added },
    };
    eachPart(call, part, (rows, columns) => {
      callProduct(call, part, rows, columns);
      const [i, j] = [rows[0], columns[0]];
      const [from, to] = [at + FLOAT * (i * kept + j), c.at + FLOAT * (D + i) * out];
      pool.call('addColumnsAt', from, FLOAT * kept, list + FLOAT * j, columns[1] - j, to, FLOAT * out, rows[1] - i);
    });
  });
  pool.run();
  if (!h) return ys;
  const kept = [h];
  const outputs = layers.map(({ weight, lora }, n) => {
    if (!lora?.magnitude) return ys[n]!;
    const norms = doraNorms(call, weight as tf.TensorInfo, lora);
    kept.push(ys[n]!, norms);
    return rescaled(call, ys[n]!, lora.magnitude as tf.TensorInfo, norms);
  });
  return [...outputs, ...kept];
};

/** dx where it is wanted, then dA, dB and perhaps dmagnitude of each layer with a branch. */
export const projectRowsGrad: SimdRun<'SpftProjectRowsGrad'> = (call, inputs, { layers, denseRows, withInput }) => {
  const { pool } = call;
  const x = inputs.x!;
  const [T, width] = x.shape as [number, number];
  const D = layers.some(({ keep }) => keep) ? denseRows : T;
  const dms = new Map<number, tf.TensorInfo>();
  const dzs = layers.map(({ lora }, n) => {
    const dy = inputs[`dy${n}`]!;
    if (!lora?.magnitude) return call.at(dy);
    const magnitude = lora.magnitude as tf.TensorInfo;
    const { dz, dm } = rescaledGradient(call, dy, inputs[`z${n}`]!, magnitude, inputs[`norms${n}`]!);
    dms.set(n, dm);
    return dz;
  });
  const dx = withInput ? call.output([T, width]) : null;
  const branches = branchesOf(call, layers);
  const gradients = (branches?.all ?? []).map(({ a, b }) => [call.output(a.shape), call.output(b.shape)] as const);
  const dh = branches ? call.scratch(T * branches.width) : 0;
  // Of sparse rows, what comes to the kept channels alone.
  const sparse = layers.map(({ keep }) =>
    keep && withInput && D < T
      ? { kept: keep.kept, list: call.at(keep.indices), at: call.scratch((T - D) * keep.kept) }
      : null,
  );
  const dxAt = dx && call.at(dx);
  for (const rows of blocksOfRows(call, T, D)) {
    const [from, to] = rows;
    if (branches) callBranchGradient(call, branches, dzs, dh, dxAt, rows);
    sparse.forEach((of, n) => {
      if (!of || from < D) return;
      const { kept, list, at } = of;
      const out = layers[n]!.weight.shape[0]!;
      const place = at + FLOAT * (from - D) * kept;
      pool.call('gatherColumns', dzs[n]! + FLOAT * from * out, out, list, kept, place, to - from);
    });
    pool.endChunk();
  }
  pool.run();
  if (branches && inputs.h) {
    const places = [call.at(x), call.at(inputs.h), dh] as const;
    addBranchParameters(call, branches, gradients, places, dzs, T);
  }
  for (const [first, end] of dxAt === null ? [] : [[0, D] as const, [D, T] as const]) {
    const c = { at: dxAt! + FLOAT * first * width, stride: width };
    const products = layers.map(({ weight }, n): Product => {
      const of = first === D ? sparse[n] : null;
      const k = of?.kept ?? weight.shape[0]!;
      const a = { at: of ? of.at : dzs[n]! + FLOAT * first * k, stride: k };
      const b = { ...whole(call, weight as tf.TensorInfo), ...(of && { rows: of.list }) };
      return { m: end - first, k, n: width, a, b, c, added: n > 0 || branches ? c : null };
    });
    const k = products.reduce((sum, product) => sum + product.k, 0);
    eachPart(call, { ...products[0]!, k }, (rows, columns) => {
      for (const product of products) callProduct(call, product, rows, columns);
    });
  }
  pool.run();
  const ofBranches = (branches?.all ?? []).flatMap(({ layer }, n) => {
    const dm = dms.get(layer);
    return [...gradients[n]!, ...(dm ? [dm] : [])];
  });
  return [...(dx ? [dx] : []), ...ofBranches];
};
