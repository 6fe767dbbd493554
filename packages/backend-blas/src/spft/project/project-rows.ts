/** @file Several frozen linear layers of one input with their branches, in two jobs each way: q, k and v of a decoder layer. */
import type * as tf from '@tensorflow/tfjs-core';
import type { BlasKernel } from '../../shared/call.js';
import { addProduct, eachPart } from '../../shared/product.js';
import { doraNorms } from './dora-linear.js';
import { keptOf, keptRows } from './kept-weight.js';
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

/** y of each layer, then h, and z and norms of each layer with a magnitude. */
export const projectRows: BlasKernel<'SpftProjectRows'> = (call, { x }, { layers, denseRows }) => {
  const { pool } = call;
  const [T, inputs] = x!.shape as [number, number];
  const D = layers.some(({ keep }) => keep) ? denseRows : T;
  const ys = layers.map(({ weight }) => call.output([T, weight.shape[0]!]));
  const branches = branchesOf(call, layers);
  const h = branches && call.output([T, branches.width]);
  const [xAt, hAt] = [call.native(x!), h ? call.native(h) : 0];
  const places = ys.map((y) => call.at(y));
  const biases = layers.map(({ bias }) => (bias ? call.at(bias) : 0));
  // Of sparse rows, the products of kept channels and where they go.
  const sparse = layers.map(({ weight, bias, keep }) =>
    keep && D < T
      ? {
          w: pool.native(keptRows(call, keep.indices, weight)),
          bias: bias ? keptOf(call, bias, keep.indices) : null,
          ...{ indices: call.at(keep.indices), to: call.scratch((T - D) * keep.kept) },
        }
      : null,
  );
  eachBlockOfRows(call, T, D, (from, rows, isSparse) => {
    if (branches) addH(call, branches, xAt, inputs, hAt, from, rows);
    layers.forEach(({ weight, keep }, n) => {
      const [out, y, branch] = [weight.shape[0]!, places[n]!, branches?.of[n]];
      // Of sparse rows a bias counts where the channel is kept.
      const bias = keep && isSparse ? 0 : biases[n]!;
      const begins = bias !== 0 || (keep !== null && isSparse && !branch);
      if (begins) pool.call('startBlock', from, from + rows, 0, 0, bias, y, out, out);
      if (branches && branch) addBranchOutput(call, branch, branches, hAt, y, [from, rows], begins ? 1 : 0);
    });
  });
  layers.forEach(({ weight, bias, keep: selection }, n) => {
    const [out, y] = [weight.shape[0]!, places[n]!];
    const beta = bias || branches?.of[n] ? 1 : 0;
    for (const { first, rows, keep } of rowsOfLayer(T, D, selection)) {
      const columns = keep?.kept ?? out;
      const ofKept = keep && sparse[n]!;
      const w = ofKept ? ofKept.w : call.native(weight);
      eachPart(pool, { m: rows, n: columns, k: inputs }, ({ i, j, m, n }) => {
        const a = [xAt + 4 * (first + i) * inputs, inputs] as const;
        const product = { m, n, k: inputs, a, b: [w + 4 * j * inputs, inputs] as const, transposeB: true };
        const rowsAt = y + 4 * (first + i) * out;
        if (!ofKept) {
          addProduct(pool, { ...product, c: [pool.native(rowsAt + 4 * j), out], beta });
          return;
        }
        const to = ofKept.to + 4 * (i * columns + j);
        addProduct(pool, { ...product, c: [pool.native(to), columns] });
        if (ofKept.bias !== null) pool.call('startBlock', 0, m, to, columns, ofKept.bias + 4 * j, to, columns, n);
        pool.call('addColumnsAt', 0, m, to, columns, ofKept.indices + 4 * j, n, rowsAt, out);
      });
    }
  });
  pool.run();
  if (!h) return ys;
  const kept = [h];
  const outputs = layers.map(({ weight, lora }, n) => {
    if (!lora?.magnitude) return ys[n]!;
    const { a, b, scaling, magnitude } = lora;
    const norms = doraNorms(call, { weight, loraA: a, loraB: b }, { scaling });
    kept.push(ys[n]!, norms);
    return rescaled(call, ys[n]!, magnitude, norms);
  });
  return [...outputs, ...kept];
};

/** dx where it is wanted, then dA, dB and perhaps dmagnitude of each layer with a branch. */
export const projectRowsGrad: BlasKernel<'SpftProjectRowsGrad'> = (call, inputs, { layers, denseRows, withInput }) => {
  const { pool } = call;
  const x = inputs.x!;
  const [T, width] = x.shape as [number, number];
  const D = layers.some(({ keep }) => keep) ? denseRows : T;
  const dms = new Map<number, tf.TensorInfo>();
  const rescaledDys = layers.map(({ lora }, n) => {
    if (!lora?.magnitude) return null;
    const { dz, dm } = rescaledGradient(
      call,
      inputs[`dy${n}`]!,
      inputs[`z${n}`]!,
      lora.magnitude,
      inputs[`norms${n}`]!,
    );
    dms.set(n, dm);
    return dz;
  });
  const dzs = rescaledDys.map((dz, n) => (dz === null ? call.native(inputs[`dy${n}`]!) : pool.native(dz)));
  const branches = branchesOf(call, layers);
  const dx = withInput ? call.output([T, width]) : null;
  const dxAt = dx && call.native(dx);
  const dh = branches ? pool.native(call.scratch(T * branches.width)) : 0;
  // Of sparse rows, what comes to the kept channels alone.
  const sparse = layers.map(({ weight, keep }, n) => {
    if (!keep || !withInput || D === T) return null;
    const dy = rescaledDys[n] ?? call.at(inputs[`dy${n}`]!);
    const w = pool.native(keptRows(call, keep.indices, weight));
    return { dy, w, kept: keep.kept, indices: call.at(keep.indices), to: call.scratch((T - D) * keep.kept) };
  });
  eachBlockOfRows(call, T, D, (from, rows, isSparse) => {
    if (branches) addBranchGradient(call, branches, dzs, dh, dxAt, [from, rows]);
    layers.forEach(({ weight }, n) => {
      const of = sparse[n];
      if (!isSparse || !of) return;
      const out = weight.shape[0]!;
      const to = of.to + 4 * (from - D) * of.kept;
      pool.call('gatherColumns', 0, rows, of.dy + 4 * from * out, out, of.indices, of.kept, to);
    });
  });
  const gradients = branches && inputs.h ? addBranchParameters(call, branches, x, inputs.h, dh, dzs) : [];
  for (const [first, end] of dxAt === null ? [] : [[0, D] as const, [D, T] as const]) {
    const operands = layers.map(({ weight }, n) => {
      const of = first === D ? sparse[n] : null;
      const out = weight.shape[0]!;
      return of
        ? { a: pool.native(of.to), k: of.kept, b: of.w }
        : { a: dzs[n]! + 4 * first * out, k: out, b: call.native(weight) };
    });
    const k = operands.reduce((sum, operand) => sum + operand.k, 0);
    eachPart(pool, { m: end - first, n: width, k }, ({ i, j, m, n }) => {
      const c = [dxAt! + 4 * ((first + i) * width + j), width] as const;
      operands.forEach(({ a, k, b }, layer) => {
        const product = { m, n, k, a: [a + 4 * i * k, k] as const, b: [b + 4 * j, width] as const, c };
        addProduct(pool, { ...product, beta: layer > 0 || branches ? 1 : 0 });
      });
    });
  }
  pool.run();
  const ofBranches = (branches?.all ?? []).flatMap(({ layer }, n) => [
    ...gradients[n]!,
    ...(dms.has(layer) ? [dms.get(layer)!] : []),
  ]);
  return [...(dx ? [dx] : []), ...ofBranches];
};
