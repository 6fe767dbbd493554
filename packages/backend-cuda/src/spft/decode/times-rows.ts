/** @file Products of a step of generation: by the kernel of few rows, or one by one as those of a batch are, the same numbers to within rounding. */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { timesWeight, withActivations } from '../../forms/form.js';
import { inScope, type Scope } from '../../shared/tensors.js';
import { swiglu } from '../mlp/swiglu.js';
import { rmsNorm } from '../norm/rms-norm.js';
import { type FewRowsProduct, timesFewRows } from '../project/few-rows.js';
import { addBias } from '../project/linear.js';

type Info = TensorInfo;

/** As `timesFewRows`, whatever the rows and matrices are. */
export const timesRows = (backend: CudaBackend, product: FewRowsProduct, scope: Scope): Info[] =>
  timesFewRows(backend, product, scope) ?? oneByOne(backend, product).map((made) => scope.result(made));

/** The same by the kernels of batches. Owned by the caller. */
function oneByOne(backend: CudaBackend, { x, norm, layers, residual, gated }: FewRowsProduct): Info[] {
  const type = backend.physical(x) as 'bf16' | 'f32';
  return inScope(backend, (scope) => {
    const rows = norm ? scope.temporary(rmsNorm(backend, x, norm.weight, norm.eps)) : x;
    const made = withActivations(backend, rows, type, (activations) =>
      layers.map(({ weight, bias }) => {
        const y = scope.result(backend.output([x.shape[0]!, weight.shape[0]!], 'float32', type));
        const sum = residual ? { beta: 1 as const, c: backend.address(residual) } : {};
        timesWeight(backend, activations, weight, { d: backend.address(y), type, ...sum });
        if (bias) addBias(backend, y, bias);
        return y;
      }),
    );
    if (!gated) return made;
    const activated = scope.result(swiglu(backend, made[0]!, made[1]!));
    for (const info of made) scope.temporary(info);
    return [activated];
  });
}
