/**
 * @file DoRA (Liu et al. 2024, arXiv:2402.09353) on top of a base product, as PEFT computes it: the adapted weight's rows rescaled to a
 * learned magnitude, y = c ⊙ (base − b + s·(x·Aᵀ)·Bᵀ) + b with c = m / ‖W + s·B·A‖ by output row.
 *
 * The norm counts as constant in the gradient (section 4.3 of the paper). Its composition makes s·B·A and forgets it: by way of
 * ‖Wₒ‖² + 2s·Bₒ·(A·Wₒ) + s²·Bₒ(A·Aᵀ)Bₒᵀ it takes as long on wasm (768×768, r = 8: 1.8 ms; 256×256, r = 32: 0.36 against 0.26) and cancels
 * where a row nearly vanishes. Kept for the backward: x, base, h = x·Aᵀ and the norms.
 */
import * as tf from '@tensorflow/tfjs';
import { columnDots } from '../engine/column-dots.js';
import { matMul2d, thinProduct } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { outliving } from '../engine/outliving.js';
import { isRecording, noGradient } from '../engine/tape.js';
import { someStored, unpacked } from '../forms/stored-matrix.js';
import { checkLora } from './lora-linear.js';

/**
 * ‖W + s·B·A‖ of each output row: what DoRA's magnitude starts from, and divides by.
 * @param weight [out, in].
 * @param loraA [r, in].
 * @param loraB [out, r].
 * @returns [out], owned by the caller. Constant in gradients.
 * @throws RangeError when the shapes do not fit.
 */
export function doraNorms(weight: tf.Tensor2D, loraA: tf.Tensor2D, loraB: tf.Tensor2D, scaling: number): tf.Tensor1D {
  const [out, inputs] = weight.shape;
  if (loraA.shape[1] !== inputs || loraB.shape[0] !== out || loraA.shape[0] !== loraB.shape[1]) {
    throw new RangeError(
      `doraNorms: weight [${weight.shape}], loraA [${loraA.shape}] and loraB [${loraB.shape}] must be [out, in], [r, in] and [out, r]`,
    );
  }
  const norms = (weight: tf.Tensor2D) =>
    runOp('SpftDoraNorms', { weight, loraA, loraB }, { scaling }, () => {
      const delta = matMul2d(tf.mul(loraB, scaling), loraA);
      return tf.sqrt(tf.sum(tf.square(tf.add(weight, delta)), 1)) as tf.Tensor1D;
    });
  return noGradient(() => (someStored([weight]) ? tf.tidy(() => norms(unpacked(weight))) : norms(weight)));
}

/**
 * With dropout, PEFT applies DoRA to a base product of the dropped input beside the plain one: y = base + doraLinear(d, W·d, …) − W·d for
 * d = dropout(x).
 * @param x [T, in].
 * @param base [T, out] what the frozen layer gave for x, with its bias.
 * @param loraA [r, in].
 * @param loraB [out, r].
 * @param magnitude m, [out].
 * @param weight W, [out, in], frozen; for the norms.
 * @param scaling s, alpha/r in LoRA.
 * @param bias b, [out], frozen, or null: part of base, not rescaled.
 * @returns [T, out], owned by the caller. Differentiable in x, base, loraA, loraB and magnitude. A row of norm zero gives the bias alone.
 * @throws RangeError when the shapes do not fit.
 */
export function doraLinear(
  x: tf.Tensor2D,
  base: tf.Tensor2D,
  loraA: tf.Tensor2D,
  loraB: tf.Tensor2D,
  magnitude: tf.Tensor1D,
  weight: tf.Tensor2D,
  scaling: number,
  bias: tf.Tensor1D | null = null,
): tf.Tensor2D {
  checkLora('doraLinear', x, base, loraA, loraB);
  const [out, inputs] = [base.shape[1], x.shape[1]];
  if (magnitude.rank !== 1 || magnitude.size !== out || (bias !== null && bias.size !== out)) {
    throw new RangeError(
      `doraLinear: magnitude [${magnitude.shape}] and bias [${bias?.shape ?? 'none'}] must have one number for each of ${out} outputs`,
    );
  }
  if (weight.shape[0] !== out || weight.shape[1] !== inputs) {
    throw new RangeError(`doraLinear: weight [${weight.shape}] must be [${out},${inputs}], outputs by inputs`);
  }
  const centred = (base: tf.Tensor, bias: tf.Tensor | null) => (bias ? tf.sub(base, bias) : base);

  const [y, h, norms] = noGradient(() => {
    const norms = doraNorms(weight, loraA, loraB, scaling);
    const tensors = { x, base, loraA, loraB, magnitude, norms, ...(bias && { bias }) };
    const outputs = runOp('SpftDoraLinear', tensors, { scaling }, () => {
      const h = matMul2d(x, loraA, false, true);
      const z = tf.add(centred(base, bias), matMul2d(tf.mul(h, scaling), loraB, false, true));
      const y = tf.mul(z, tf.divNoNan(magnitude, norms));
      return [bias ? tf.add(y, bias) : y, h];
    });
    return [...outputs, norms] as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D];
  });
  if (!isRecording()) {
    tf.dispose([h, norms]);
    return y;
  }
  // As in lora-linear.ts: what the forward made beside y is kept by an op that only hands y on.
  const frozen = outliving([bias]);
  const op = tf.customGrad((...args) => {
    const [x, base, loraA, loraB, magnitude] = args as tf.Tensor[];
    (args[5] as unknown as tf.GradSaveFunc)([x!, base!, loraA!, loraB!, magnitude!, h, norms, ...frozen.saves]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [x, base, loraA, loraB] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
      const [magnitude, h, norms] = saved.slice(4) as [tf.Tensor1D, tf.Tensor2D, tf.Tensor1D];
      const living = frozen.from(saved.slice(7))(bias);
      const tensors = { x, base, h, loraA, loraB, magnitude, norms, dy, ...(living && { bias: living }) };
      return runOp('SpftDoraLinearGrad', tensors, { scaling }, () => {
        const c = tf.divNoNan(magnitude, norms);
        const dbase = tf.mul(dy, c) as tf.Tensor2D;
        const dh = tf.mul(matMul2d(dbase, loraB), scaling) as tf.Tensor2D;
        // Σₜ dy·h, from which the adapter's part of dm comes without x·Aᵀ·Bᵀ being made again.
        const sums = tf.mul(matMul2d(dy as tf.Tensor2D, h, true, false), scaling);
        const scale = tf.add(
          columnDots(dy as tf.Tensor2D, centred(base, living) as tf.Tensor2D),
          tf.sum(tf.mul(sums, loraB), 1),
        );
        return [
          matMul2d(dh, loraA),
          dbase,
          thinProduct(dh, x),
          tf.mul(sums, tf.expandDims(c, 1)),
          tf.divNoNan(scale, norms),
        ];
      });
    };
    return { value: tf.clone(y), gradFunc };
  });
  const value = op(x, base, loraA, loraB, magnitude) as tf.Tensor2D;
  tf.dispose([y, h, norms]);
  return value;
}
