/** @file One step of AdamW with moments in 8 bits over all tensors in one launch (optimizer-8bit.cu). What is updated where it is: optimizer-update.ts. */
import * as tf from '@tensorflow/tfjs';
import { HALF, inScope } from '../../shared/tensors.js';
import { declareVariants } from '../../shared/variants.js';
import type { CudaKernels } from '../contract.js';
import { overPieces, recordedAt, renewed } from './optimizer-update.js';

/** What is renewed, in the order of the outputs, and how it is stored. */
const ROLES = [
  ['p', 'f32'],
  ['mCodes', 'i32'],
  ['mScales', 'f32'],
  ['vCodes', 'i32'],
  ['vScales', 'f32'],
] as const;

declareVariants('optimizer-8bit');

export const adamw8bitKernels = {
  SpftAdamw8bit: ({ backend, inputs, attributes }) =>
    inScope(backend, (scope) => {
      const { count, learningRate, weightDecay, beta1, beta2, epsilon, stepSize, rootCorrection } = attributes;
      const outputs: tf.TensorInfo[][] = ROLES.map(() => []);
      const rows: number[] = [];
      const fields = 2 * ROLES.length + 3;
      for (let n = 0; n < count; n++) {
        const [old, fresh]: [number[], number[]] = [[], []];
        ROLES.forEach(([role, physical], place) => {
          const info = inputs[`${role}${n}`]!;
          const next = scope.result(renewed(backend, info, physical));
          outputs[place]!.push(next);
          // Before a value from the host is on the device it has no address of its own.
          old.push(scope.address(info, physical));
          fresh.push(backend.address(next));
        });
        const [p, ...moments] = old;
        const g = scope.address(inputs[`g${n}`]!, 'f32');
        const parameter = inputs[`p${n}`]!;
        const half = p === fresh[0] ? backend.derivedAddress(parameter, HALF) : 0;
        rows.push(p!, g, ...moments, ...fresh, half, tf.util.sizeFromShape(parameter.shape));
      }
      const { gradientScale } = inputs;
      const known = gradientScale ? backend.hostScalar(gradientScale) : 1;
      const scale = gradientScale && known === null ? scope.address(gradientScale, 'f32') : 0;
      const at = recordedAt(backend, attributes.numbers);
      const [decay, size, correction] =
        at === 0 ? [1 - learningRate * weightDecay, stepSize, rootCorrection] : [0, 0, 0];
      const numbers = [decay, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, size, correction];
      const tables = scope.address(inputs.tables, 'f32');
      const kernel = backend.kernel('optimizer-8bit', 'adamw_8bit', 'pppppfffffffff');
      overPieces(backend, rows, fields, (lists, pieces) => {
        backend.launch(kernel, [pieces], [256], [...lists, tables, scale, at, known ?? 1, ...numbers]);
      });
      return outputs.flat();
    }),
} satisfies CudaKernels;
