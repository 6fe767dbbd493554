/** @file Columns rescaled to the magnitudes of DoRA, and the norms that they are divided by. */
import type { KernelBranch } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import {
  type Backend,
  type Call,
  dimensions,
  forEach,
  groupsFor,
  lanesFor,
  output,
  withScratch,
  words,
} from '../../shared/call.js';
import { multiply, plain } from '../../shared/product.js';

type Info = tf.TensorInfo;
type LowRank = Pick<KernelBranch, 'a' | 'b' | 'scaling'>;

/** ‖W + s·B·A‖ of each row. */
export function doraNorms(backend: Backend, weight: Info, { a, b, scaling }: LowRank): Info {
  const [out, width] = dimensions(weight);
  const norms = output(backend, [out]);
  withScratch(backend, [out * width], (sum) => {
    multiply(backend, {
      ...{ m: out, n: width, k: a.shape[0]!, a: plain(b), b: plain(a), c: { x: sum! } },
      ...{ alpha: scaling, added: { x: weight, row: width } },
    });
    const constants = { LANES: lanesFor(width) };
    if (out > 0) backend.dispatch('row-norms', constants, words(out, width), [sum!, norms], groupsFor(out));
  });
  return norms;
}

/** z ⊙ magnitude / norms, zero where a norm is, and the residual where there is one. */
export function rescale(backend: Backend, z: Info, magnitude: Info, norms: Info, residual: Info | null = null): Info {
  const [T, out] = dimensions(z);
  const y = output(backend, z.shape);
  const bindings = [z, magnitude, norms, residual ?? z, y];
  forEach(backend, 'rescale', [T * out, out], bindings, { WITH_RESIDUAL: residual !== null });
  return y;
}

/** The gradients of z and of the magnitude; the norms count as constant. */
export function rescaleGrad(backend: Backend, z: Info, magnitude: Info, norms: Info, dy: Info): [dz: Info, dm: Info] {
  const [T, out] = dimensions(z);
  const dz = rescale(backend, dy, magnitude, norms);
  const dm = output(backend, [out]);
  const constants = { DIVIDED: true };
  const bindings = [dy, z, norms, dm];
  if (out > 0) backend.dispatch('column-dots', constants, words(T, out), bindings, [Math.ceil(out / 32)]);
  return [dz, dm];
}

export const rescaleKernels = {
  SpftDoraNorms: ({ backend, inputs: { weight, loraA, loraB }, attributes }: Call<'SpftDoraNorms'>) =>
    doraNorms(backend, weight, { a: loraA, b: loraB, scaling: attributes.scaling }),
  SpftRescaleColumns: ({ backend, inputs: { z, magnitude, norms } }: Call<'SpftRescaleColumns'>) =>
    rescale(backend, z, magnitude, norms),
};
