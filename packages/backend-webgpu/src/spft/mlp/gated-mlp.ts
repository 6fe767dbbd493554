/**
 * @file The frozen gated MLP on top of a residual stream. Kept for the gradient: gate and up of the dense rows, then of the sparse ones at their kept
 * channels.
 */
import type { GatedMlpAttributes } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import { type Backend, type Call, forEach, output } from '../../shared/call.js';
import { Gather, multiply, multiplyTogether, plain, transposed } from '../../shared/product.js';
import { partsOf } from '../project/rows-of-layers.js';

type Info = tf.TensorInfo;
type Part = ReturnType<typeof partsOf>[number];

/** Channels that rows of a part compute. */
const channelsOf = ({ weights }: GatedMlpAttributes, { keep }: Part) => keep?.kept ?? weights.gate.weight.shape[0]!;

/** gate and up of a part's rows. */
function gateAndUp(backend: Backend, x: Info, attributes: GatedMlpAttributes, part: Part): Info[] {
  const { from, to, keep } = part;
  const [m, n, k] = [to - from, channelsOf(attributes, part), x.shape[1]!];
  const layers = [attributes.weights.gate, attributes.weights.up];
  const zs = layers.map(() => output(backend, [m, n]));
  const products = layers.map(({ weight }, at) => ({
    ...{ m, n, k, a: plain(x, from), b: transposed(weight), c: { x: zs[at]! } },
  }));
  if (!keep && layers.every(({ bias }) => !bias)) multiplyTogether(backend, products);
  else {
    products.forEach((product, at) => {
      const whole = { ...product, bias: layers[at]!.bias };
      multiply(backend, keep ? { ...whole, indices: keep.indices, gather: Gather.columnsOfB } : whole);
    });
  }
  return zs;
}

function gatedMlp({ backend, inputs: { x, residual }, attributes }: Call<'SpftGatedMlp'>): Info[] {
  const { weights, keep, denseRows } = attributes;
  const { weight, bias } = weights.down;
  const [T, n] = residual.shape as [number, number];
  const y = output(backend, residual.shape);
  const kept = partsOf(T, denseRows, keep).flatMap((part) => {
    const { from, to, keep } = part;
    const [m, k] = [to - from, channelsOf(attributes, part)];
    const made = gateAndUp(backend, x, attributes, part);
    const h = output(backend, [m, k]);
    forEach(backend, 'swiglu', [m * k], [...made, h]);
    const added = { x: residual, row: n, offset: from * n };
    const product = { m, n, k, a: plain(h), b: transposed(weight), c: { x: y, offset: from * n }, bias, added };
    multiply(backend, keep ? { ...product, indices: keep.indices, gather: Gather.rowsOfB } : product);
    backend.disposeData(h.dataId);
    return made;
  });
  return [y, ...kept];
}

function gatedMlpGrad({ backend, inputs, attributes }: Call<'SpftGatedMlpGrad'>): Info {
  const { dy } = inputs;
  const { weights, keep, denseRows } = attributes;
  const [T, H] = dy.shape as [number, number];
  const width = weights.gate.weight.shape[1]!;
  const dx = output(backend, [T, width]);
  partsOf(T, denseRows, keep).forEach((part, n) => {
    const { from, to, keep } = part;
    const [m, channels] = [to - from, channelsOf(attributes, part)];
    const of = (gather: 1 | 2) => (keep ? { indices: keep.indices, gather } : {});
    const [gate, up] = [inputs[`kept${2 * n}`]!, inputs[`kept${2 * n + 1}`]!];
    const [dh, dgate, dup] = [0, 1, 2].map(() => output(backend, [m, channels])) as [Info, Info, Info];
    multiply(backend, {
      ...{ m, n: channels, k: H, a: plain(dy, from), b: plain(weights.down.weight), c: { x: dh } },
      ...of(Gather.columnsOfB),
    });
    forEach(backend, 'swiglu-grad', [m * channels], [gate, up, dh, dgate, dup]);
    const products = [[dgate, weights.gate] as const, [dup, weights.up] as const].map(([dz, { weight }]) => ({
      ...{ m, n: width, k: channels, a: plain(dz), b: plain(weight), c: { x: dx, offset: from * width } },
    }));
    if (!keep) multiplyTogether(backend, products, { sum: true });
    else {
      products.forEach((product, n) => {
        multiply(backend, { ...product, accumulate: n > 0, ...of(Gather.rowsOfB) });
      });
    }
    for (const { dataId } of [dh, dgate, dup]) backend.disposeData(dataId);
  });
  return dx;
}

export const gatedMlpKernels = { SpftGatedMlp: gatedMlp, SpftGatedMlpGrad: gatedMlpGrad };
