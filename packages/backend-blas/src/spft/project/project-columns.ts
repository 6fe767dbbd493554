/** @file A frozen linear layer with its branch on top of a residual stream, in two jobs each way: o of a decoder layer. */
import type { BlasKernel } from '../../shared/call.js';
import { addProduct, eachPart } from '../../shared/product.js';
import { doraNorms } from './dora-linear.js';
import { keptColumns } from './kept-weight.js';
import {
  addBranchGradient,
  addBranchOutput,
  addBranchParameters,
  addH,
  branchesOf,
  eachBlockOfRows,
  rescaled,
  rescaledGradient,
  rowsOfLayer,
} from './layers.js';

/** y, then h, z and norms as far as there are any. */
export const projectColumns: BlasKernel<'SpftProjectColumns'> = (call, { x, residual }, { layer, denseRows }) => {
  const { pool } = call;
  const { weight, bias, keep: selection, lora } = layer;
  const [T, inputs] = x!.shape as [number, number];
  const out = weight.shape[0]!;
  const D = selection ? denseRows : T;
  const y = call.output([T, out]);
  const branches = branchesOf(call, [layer]);
  const h = branches && call.output([T, branches.width]);
  const [xAt, hAt, yAt] = [call.native(x!), h ? call.native(h) : 0, call.at(y)];
  // What a magnitude rescales is without the residual.
  const residualAt = lora?.magnitude ? 0 : call.at(residual!);
  const biasAt = bias ? call.at(bias) : 0;
  const sparse = selection &&
    D < T && {
      ...{ x: call.at(x!), indices: call.at(selection.indices), kept: selection.kept },
      ...{ w: pool.native(keptColumns(call, weight, selection.indices)), to: call.scratch((T - D) * selection.kept) },
    };
  eachBlockOfRows(call, T, D, (from, rows, isSparse) => {
    if (branches) addH(call, branches, xAt, inputs, hAt, from, rows);
    pool.call('startBlock', from, from + rows, residualAt, out, biasAt, yAt, out, out);
    if (branches) addBranchOutput(call, branches.all[0]!, branches, hAt, yAt, [from, rows], 1);
    if (!isSparse || !sparse) return;
    const to = sparse.to + 4 * (from - D) * sparse.kept;
    pool.call('gatherColumns', 0, rows, sparse.x + 4 * from * inputs, inputs, sparse.indices, sparse.kept, to);
  });
  for (const { first, rows, keep } of rowsOfLayer(T, D, selection)) {
    const k = keep?.kept ?? inputs;
    const [left, w] =
      keep && sparse ? [pool.native(sparse.to), sparse.w] : [xAt + 4 * first * inputs, call.native(weight)];
    eachPart(pool, { m: rows, n: out, k }, ({ i, j, m, n }) => {
      const c = [pool.native(yAt + 4 * ((first + i) * out + j)), out] as const;
      addProduct(pool, { m, n, k, a: [left + 4 * i * k, k], b: [w + 4 * j * k, k], c, transposeB: true, beta: 1 });
    });
  }
  pool.run();
  if (!h) return [y];
  if (!lora?.magnitude) return [y, h];
  const norms = doraNorms(call, { weight, loraA: lora.a, loraB: lora.b }, { scaling: lora.scaling });
  const product = rescaled(call, y, lora.magnitude, norms);
  const at = call.at(product);
  call.share('add', T * out, 1, at, call.at(residual!), at);
  return [product, h, y, norms];
};

/** dx, then dA, dB and perhaps dmagnitude. */
export const projectColumnsGrad: BlasKernel<'SpftProjectColumnsGrad'> = (call, inputs, { layer, denseRows }) => {
  const { pool } = call;
  const { weight, keep: selection, lora } = layer;
  const { x, dy } = inputs;
  const [T, width] = x!.shape as [number, number];
  const out = weight.shape[0]!;
  const D = selection ? denseRows : T;
  const through = lora?.magnitude
    ? rescaledGradient(call, dy!, inputs.z0!, lora.magnitude, inputs.norms0!)
    : { dz: null, dm: null };
  const dz = through.dz === null ? call.native(dy!) : pool.native(through.dz);
  const branches = branchesOf(call, [layer]);
  const dx = call.output([T, width]);
  const dxAt = call.at(dx);
  const dh = branches ? pool.native(call.scratch(T * branches.width)) : 0;
  const sparse = selection &&
    D < T && {
      w: pool.native(keptColumns(call, weight, selection.indices)),
      ...{ indices: call.at(selection.indices), to: call.scratch((T - D) * selection.kept) },
    };
  eachBlockOfRows(call, T, D, (from, rows, isSparse) => {
    if (branches) addBranchGradient(call, branches, [dz], dh, pool.native(dxAt), [from, rows]);
    else if (isSparse) pool.call('startBlock', from, from + rows, 0, 0, 0, dxAt, width, width);
  });
  const gradients = branches && inputs.h ? addBranchParameters(call, branches, x!, inputs.h, dh, [dz]) : [];
  for (const { first, rows, keep } of rowsOfLayer(T, D, selection)) {
    const columns = keep?.kept ?? width;
    const ofKept = keep && sparse ? sparse : null;
    const w = ofKept ? ofKept.w : call.native(weight);
    eachPart(pool, { m: rows, n: columns, k: out }, ({ i, j, m, n }) => {
      const [a, b] = [[dz + 4 * (first + i) * out, out] as const, [w + 4 * j, columns] as const];
      const rowsAt = dxAt + 4 * (first + i) * width;
      if (!ofKept) {
        const c = [pool.native(rowsAt + 4 * j), width] as const;
        addProduct(pool, { m, n, k: out, a, b, c, beta: branches ? 1 : 0 });
        return;
      }
      const to = ofKept.to + 4 * (i * columns + j);
      addProduct(pool, { m, n, k: out, a, b, c: [pool.native(to), columns] });
      pool.call('addColumnsAt', 0, m, to, columns, ofKept.indices + 4 * j, n, rowsAt, width);
    });
  }
  pool.run();
  return [dx, ...gradients.flat(), ...(through.dm ? [through.dm] : [])];
};
