/** @file Several frozen linear layers of one input with their branches: q, k and v. Everything is a product that writes or adds where it belongs. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, output } from '../../shared/call.js';
import { multiplyTogether, plain, transposed } from '../../shared/product.js';
import { doraNorms, rescale, rescaleGrad } from './rescale.js';
import { addBranches, branchesOf, branchGradients, partsOf, timesRows, timesRowsGrad } from './rows-of-layers.js';

/** y of each layer, then h, and z and norms of each layer with a magnitude. */
function projectRows({ backend, inputs: { x }, attributes }: Call<'SpftProjectRows'>): tf.TensorInfo[] {
  const { layers, denseRows } = attributes;
  const T = x.shape[0]!;
  const ys = layers.map(({ weight }) => output(backend, [T, weight.shape[0]!]));
  if (layers.every(({ keep, bias }) => (!keep || denseRows === T) && !bias)) {
    multiplyTogether(
      backend,
      layers.map(({ weight }, n) => {
        const [out, k] = weight.shape as [number, number];
        return { m: T, n: out, k, a: plain(x), b: transposed(weight), c: { x: ys[n]! } };
      }),
    );
  } else {
    layers.forEach((layer, n) => {
      for (const { from, to, keep } of partsOf(T, denseRows, layer.keep))
        timesRows(backend, x, layer, { x: ys[n]!, from, to }, keep);
    });
  }
  const h = addBranches(backend, x, branchesOf(layers), ys);
  const kept = h ? [h] : [];
  const outputs = ys.map((y, n) => {
    const { weight, lora } = layers[n]!;
    if (!lora?.magnitude) return y;
    const norms = doraNorms(backend, weight, lora);
    kept.push(y, norms);
    return rescale(backend, y, lora.magnitude, norms);
  });
  return [...outputs, ...kept];
}

/** dx where it is wanted, then dA, dB and perhaps dmagnitude of each layer with a branch. */
function projectRowsGrad(call: Call<'SpftProjectRowsGrad'>): tf.TensorInfo[] {
  const { backend, inputs, attributes } = call;
  const { layers, denseRows, withInput } = attributes;
  const { x } = inputs;
  const T = x.shape[0]!;
  const dmagnitudes = new Map<number, tf.TensorInfo>();
  const dys = layers.map(({ lora }, n) => {
    const dy = inputs[`dy${n}`]!;
    if (!lora?.magnitude) return dy;
    const [dz, dm] = rescaleGrad(backend, inputs[`z${n}`]!, lora.magnitude, inputs[`norms${n}`]!, dy);
    dmagnitudes.set(n, dm);
    return dz;
  });
  const dx = withInput ? output(backend, x.shape) : null;
  if (dx && layers.every(({ keep }) => !keep || denseRows === T)) {
    multiplyTogether(
      backend,
      layers.map(({ weight }, n) => {
        const [k, width] = weight.shape as [number, number];
        return { m: T, n: width, k, a: plain(dys[n]!), b: plain(weight), c: { x: dx } };
      }),
      { sum: true },
    );
  } else if (dx) {
    layers.forEach(({ weight, keep: selection }, n) => {
      for (const { from, to, keep } of partsOf(T, denseRows, selection))
        timesRowsGrad(backend, dys[n]!, weight, { x: dx, from, to }, keep, n > 0);
    });
  }
  const branches = branchesOf(layers);
  const gradients = inputs.h ? branchGradients(backend, x, inputs.h, branches, dys, dx) : [];
  for (const n of dmagnitudes.keys()) backend.disposeData(dys[n]!.dataId);
  const ofBranches = branches.all.flatMap(({ layer }, n) => [
    ...gradients[n]!,
    ...(dmagnitudes.has(layer) ? [dmagnitudes.get(layer)!] : []),
  ]);
  return [...(dx ? [dx] : []), ...ofBranches];
}

export const projectRowsKernels = { SpftProjectRows: projectRows, SpftProjectRowsGrad: projectRowsGrad };
