/**
 * @file A sparse linear layer that reads the kept rows of the weight where they lie. The composition gathers them first, a copy of the kept share of
 * every weight; a loop can do without.
 */
import type { SpftKernels } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';

/** Inputs and attributes are typed by the contract: a name that it does not have does not compile, and `bias` may be missing. */
export const linearKeptRows: SpftKernels<MathBackendCPU>['SpftLinearKeptRows'] = ({ backend, inputs }) => {
  const { x, weight, indices, bias } = inputs;
  const numbers = (info: TensorInfo) => backend.data.get(info.dataId).values as Float32Array;
  const [T, In] = x.shape as [number, number];
  const kept = indices.shape[0]!;
  const [from, w, rows] = [numbers(x), numbers(weight), numbers(indices)];
  const b = bias ? numbers(bias) : null;

  const y = new Float32Array(T * kept);
  for (let t = 0; t < T; t++) {
    for (let k = 0; k < kept; k++) {
      const row = rows[k]! * In;
      let sum = b ? b[rows[k]!]! : 0;
      for (let i = 0; i < In; i++) sum += from[t * In + i]! * w[row + i]!;
      y[t * kept + k] = sum;
    }
  }
  return backend.makeTensorInfo([T, kept], 'float32', y);
};
