/**
 * @file Rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the half-split convention of transformers' Llama: dimension i of a
 * head turns with dimension i + d/2. The gradient is the rotation by the opposite angle.
 */
import * as tf from '@tensorflow/tfjs';
import { runOp } from '../engine/op.js';
import { recomputedAs, recordOp } from '../engine/record-op.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { ropeOnHost } from '../kernels/host/rope.js';

registerHostKernel('SpftRope', ropeOnHost);

function rotate(x: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor, headDim: number, inverse: boolean): tf.Tensor {
  return runOp('SpftRope', { x, cos, sin }, { headDim, inverse }, () => {
    const [T, half] = cos.shape as [number, number];
    const heads = x.shape[1]! / headDim;
    const [first, second] = tf.split(tf.reshape(x, [T, heads, 2, half]), 2, 2) as [tf.Tensor, tf.Tensor];
    const [c, s] = [tf.reshape(cos, [T, 1, 1, half]), tf.reshape(sin, [T, 1, 1, half])];
    const [firstSin, secondSin] = [tf.mul(first, s), tf.mul(second, s)];
    const turned = inverse
      ? [tf.add(tf.mul(first, c), secondSin), tf.sub(tf.mul(second, c), firstSin)]
      : [tf.sub(tf.mul(first, c), secondSin), tf.add(tf.mul(second, c), firstSin)];
    return tf.reshape(tf.concat(turned, 2), x.shape);
  });
}

/** @throws RangeError, in the name of `op`, when the shapes do not fit. */
export function checkRope(op: string, x: tf.Tensor2D, cos: tf.Tensor2D, sin: tf.Tensor2D, headDim: number): void {
  const fits = (t: tf.Tensor) => t.rank === 2 && t.shape[0] === x.shape[0] && t.shape[1]! * 2 === headDim;
  if (x.rank !== 2 || x.shape[1] % headDim !== 0 || !fits(cos) || !fits(sin)) {
    throw new RangeError(
      `${op}: x [${x.shape}] must be [T, heads·${headDim}], cos [${cos.shape}] and sin [${sin.shape}] [T, ${headDim / 2}]`,
    );
  }
}

/**
 * @param x [T, heads·d].
 * @param cos [T, d/2] of each row's position (`ropeRows`); constant.
 * @param sin [T, d/2].
 * @returns [T, heads·d], owned by the caller. Differentiable in x.
 * @throws RangeError when the shapes do not fit.
 */
export function rope(x: tf.Tensor2D, cos: tf.Tensor2D, sin: tf.Tensor2D, headDim: number): tf.Tensor2D {
  checkRope('rope', x, cos, sin, headDim);
  const turn = (x: tf.Tensor, [cos, sin]: readonly tf.Tensor[]) => rotate(x, cos!, sin!, headDim, false) as tf.Tensor2D;
  const [turned] = recordOp<[tf.Tensor2D]>({
    name: 'SpftRope',
    inputs: { x },
    saves: [cos, sin],
    run: () => ({ outputs: [recomputedAs(turn(x, [cos, sin]), x, [cos, sin], turn)], kept: [] }),
    gradient: ([dy], [cos, sin]) => ({ x: rotate(dy!, cos!, sin!, headDim, true) }),
  });
  return turned;
}
