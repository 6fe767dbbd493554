/**
 * @file Attention whose queries and keys are turned first (`ropeAttention` of sparse-ops): one launch turns both, and the gradient's kernels turn back what they
 * write, which would be read and written once more otherwise: 84 MB a layer of Llama-3-8B's shape and 4,096 tokens, each way.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import { pendingOfBoth } from '../project/pending-branches.js';
import { turnedProducts } from '../project/pending-products.js';
import { attend, attendGrad } from './packed-attention.js';
import { ropeOfBoth } from './rope.js';

/** q and k turned, owned by the caller; by their products, or in the pass that adds their branches, where these are still to be made or added. */
function turnedBoth(
  backend: CudaBackend,
  q: TensorInfo,
  k: TensorInfo,
  cos: TensorInfo,
  sin: TensorInfo,
  headDim: number,
) {
  const pending = pendingOfBoth(backend, q, k);
  const inFloat = backend.physical(cos) === 'f32' && backend.physical(sin) === 'f32';
  const turning = inFloat && { cos: backend.address(cos), sin: backend.address(sin), headDim };
  const made = turning && (turnedProducts(backend, [q, k], turning) ?? pending?.turned(turning));
  return made || ropeOfBoth(backend, [q, k], cos, sin, headDim, false);
}

const ropeAttention: CudaKernel<'SpftRopeAttention'> = ({ backend, inputs, attributes }) => {
  const { cos, sin, v } = inputs;
  const [q, k] = turnedBoth(backend, inputs.q, inputs.k, cos, sin, attributes.heads.headDim);
  try {
    const [y, lse] = attend(backend, { q, k, v }, attributes);
    return [y, q, k, lse];
  } catch (error) {
    for (const turned of [q, k]) backend.release(turned);
    throw error;
  }
};

const ropeAttentionGrad: CudaKernel<'SpftRopeAttentionGrad'> = ({ backend, inputs, attributes }) => {
  const { v, y, dy, cos, sin } = inputs;
  const attended = { q: inputs.kept0!, k: inputs.kept1!, lse: inputs.kept2!, v, y, dy };
  return attendGrad(backend, attended, attributes, { cos, sin });
};

/** Kernels of the contract. */
export const ropeAttentionKernels = {
  SpftRopeAttention: ropeAttention,
  SpftRopeAttentionGrad: ropeAttentionGrad,
} satisfies CudaKernels;
