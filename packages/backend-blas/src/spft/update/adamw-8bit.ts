/**
 * @file One step of AdamW with moments in 8 bits over all tensors, as loops of JavaScript over the tensors' own memory: codes are read and written as bytes
 * where they lie. The same as sparse-ops' for cpu and wasm, which this package does not depend on.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { BlasKernel } from '../../shared/call.js';

/** Numbers that share a scale. */
const BLOCK = 256;

export const adamw8bit: BlasKernel<'SpftAdamw8bit'> = (call, inputs, attributes) => {
  const { count, learningRate, weightDecay, beta1, beta2, epsilon, stepSize, rootCorrection } = attributes;
  const roles = ['p', 'mCodes', 'mScales', 'vCodes', 'vScales'] as const;
  const outputs = roles.map((role) =>
    Array.from({ length: count }, (_, n) =>
      call.output(inputs[`${role}${n}`]!.shape, role.endsWith('Codes') ? 'int32' : 'float32'),
    ),
  );
  const bytes = (info: tf.TensorInfo) => {
    const words = call.values(info);
    return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  };
  const tables = call.values(inputs.tables);
  const row = (n: number) => tables.subarray(n * BLOCK, (n + 1) * BLOCK);
  const [firstMap, firstThresholds, secondMap, secondThresholds] = [row(0), row(1), row(2), row(3)];
  const scale = inputs.gradientScale ? call.values(inputs.gradientScale)[0]! : 1;
  const decay = 1 - learningRate * weightDecay;
  const [m, v] = [new Float32Array(BLOCK), new Float32Array(BLOCK)];
  for (let n = 0; n < count; n++) {
    const [p, g] = [call.values(inputs[`p${n}`]!), call.values(inputs[`g${n}`]!)];
    const [mCodes, mScales] = [bytes(inputs[`mCodes${n}`]!), call.values(inputs[`mScales${n}`]!)];
    const [vCodes, vScales] = [bytes(inputs[`vCodes${n}`]!), call.values(inputs[`vScales${n}`]!)];
    const out = (role: number) => outputs[role]![n]!;
    const [newP, newMCodes, newMScales] = [call.values(out(0)), bytes(out(1)), call.values(out(2))];
    const [newVCodes, newVScales] = [bytes(out(3)), call.values(out(4))];
    for (let block = 0; block < mScales.length; block++) {
      const start = block * BLOCK;
      const [mScale, vScale] = [mScales[block]!, vScales[block]!];
      let [mMost, vMost] = [0, 0];
      for (let i = 0; i < BLOCK; i++) {
        const gradient = start + i < g.length ? g[start + i]! * scale : 0;
        m[i] = beta1 * firstMap[mCodes[start + i]!]! * mScale + (1 - beta1) * gradient;
        v[i] = beta2 * secondMap[vCodes[start + i]!]! * vScale + (1 - beta2) * gradient * gradient;
        mMost = Math.max(mMost, Math.abs(m[i]!));
        vMost = Math.max(vMost, v[i]!);
      }
      newMScales[block] = mMost;
      newVScales[block] = vMost;
      for (let i = 0; i < BLOCK; i++) {
        newMCodes[start + i] = codeOf(mMost === 0 ? 0 : Math.fround(m[i]! / mMost), firstThresholds);
        newVCodes[start + i] = codeOf(vMost === 0 ? 0 : Math.fround(v[i]! / vMost), secondThresholds);
      }
      for (let i = 0, at = start; i < BLOCK && at < p.length; i++, at++)
        newP[at] = p[at]! * decay - (stepSize * m[i]!) / (Math.sqrt(v[i]!) / rootCorrection + epsilon);
    }
  }
  return outputs.flat();
};

/** How many of the ascending thresholds x has reached. */
function codeOf(x: number, thresholds: Float32Array): number {
  let code = 0;
  for (let width = BLOCK / 2; width >= 1; width >>= 1) if (x >= thresholds[code + width - 1]!) code += width;
  return code;
}
