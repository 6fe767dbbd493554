/**
 * @file A step of generation through a decoder layer (`decodeLayer` of sparse-ops) in five launches: norm and q, k, v; attention, which keeps the new keys
 * and values; o and the residual; norm, gate, up and SwiGLU; down and the residual. Each reads its weights once, and nothing depends on how long the sequences are.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope } from '../../shared/tensors.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import type { Norm } from '../project/few-rows.js';
import { activationType } from '../project/layers.js';
import { decodeAttention, takesHeads } from './decode-attention.js';
import { timesRows } from './times-rows.js';

type Info = TensorInfo;

const decodeLayer: CudaKernel<'SpftDecodeLayer'> = ({
  backend,
  inputs,
  attributes: { attention, mlp, heads, eps },
}) => {
  if (!takesHeads(heads)) {
    throw new TypeError(
      `decodeLayer: heads of ${heads.headDim} numbers; this backend takes even numbers up to 256 of them`,
    );
  }
  const { x, cos, sin, positions } = inputs;
  const { q, k, v, o } = attention;
  const { gate, up, down } = mlp;
  const type = activationType(backend, x, q.weight);
  return inScope(backend, (scope) => {
    const [keys, values] = [inputs.keys, inputs.values].map((old) => scope.result(renewed(backend, old))) as [
      Info,
      Info,
    ];
    const rows = scope.temporary(backend.as(x, type));
    if (x.shape[0] === 0) return [scope.output(x.shape, 'float32', type), keys, values];
    const inputNorm: Norm = { weight: inputs.inputNorm, eps };
    const secondNorm: Norm = { weight: inputs.postAttentionNorm, eps };
    // What lies between the products ends with the kernel, and before it where it fails.
    return inScope(backend, (inner) => {
      const between = <T extends Info>(made: readonly T[]): readonly T[] => {
        for (const info of made) inner.temporary(info);
        return made;
      };
      const plain = { residual: null, norm: null, gated: false };
      const [qs, ks, vs] = between(
        inScope(backend, (s) => timesRows(backend, { ...plain, x: rows, norm: inputNorm, layers: [q, k, v] }, s)),
      );
      const tokens = { q: qs!, k: ks!, v: vs!, cos, sin, positions, keys, values };
      const [mixed] = between([inScope(backend, (s) => decodeAttention(backend, tokens, heads, s))]);
      const [attended] = between(
        inScope(backend, (s) => timesRows(backend, { ...plain, x: mixed!, layers: [o], residual: rows }, s)),
      );
      const gated = { ...plain, x: attended!, norm: secondNorm, layers: [gate, up], gated: true };
      const [activated] = between(inScope(backend, (s) => timesRows(backend, gated, s)));
      const last = { ...plain, x: activated!, layers: [down], residual: attended! };
      const [y] = timesRows(backend, last, inner);
      return [y!, keys, values];
    });
  });
};

/** Where the cache goes on: its own memory where nothing else uses it, else a copy. Owned by the caller. */
function renewed(backend: CudaBackend, info: Info): Info {
  if (backend.isSoleUser(info)) return backend.share(info);
  backend.device.recording?.refuse('keys and values that it adds to share their memory with another tensor');
  const physical = backend.physical(info);
  const copy = backend.output(info.shape, 'float32', physical);
  backend.convert(info, backend.address(copy), physical);
  return copy;
}

/** Kernels of the contract. */
export const decodeLayerKernels = { SpftDecodeLayer: decodeLayer } satisfies CudaKernels;
