/** @file A step of AdamW with moments in 8 bits as one loop over all tensors, block by block: codes are read and written as bytes where they lie. */
import type { HostArray, HostKernel, OutputSpec } from './host-kernel.js';

const BLOCK = 256;

/** The codes in a tensor of words, a byte each. */
const bytesOf = (words: HostArray): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, words.byteLength);

export const adamw8bitOnHost: HostKernel<'SpftAdamw8bit'> = {
  backends: ['cpu', 'wasm'],
  outputs: (inputs, { count }) => {
    const like = (role: 'p' | 'mCodes' | 'mScales' | 'vCodes' | 'vScales'): OutputSpec[] =>
      Array.from({ length: count }, (_, n) => ({
        shape: inputs[`${role}${n}`]!.shape,
        dtype: role.endsWith('Codes') ? 'int32' : 'float32',
      }));
    return [...like('p'), ...like('mCodes'), ...like('mScales'), ...like('vCodes'), ...like('vScales')];
  },
  run: (inputs, outputs, { count, learningRate, weightDecay, beta1, beta2, epsilon, stepSize, rootCorrection }) => {
    const scale = inputs.gradientScale ? inputs.gradientScale[0]! : 1;
    const decay = 1 - learningRate * weightDecay;
    const tables = inputs.tables as Float32Array;
    const row = (n: number) => tables.subarray(n * BLOCK, (n + 1) * BLOCK);
    const [firstMap, firstThresholds, secondMap, secondThresholds] = [row(0), row(1), row(2), row(3)];
    const [m, v] = [new Float32Array(BLOCK), new Float32Array(BLOCK)];
    for (let n = 0; n < count; n++) {
      const [p, g] = [inputs[`p${n}`]!, inputs[`g${n}`]!];
      const [mScales, vScales] = [inputs[`mScales${n}`]!, inputs[`vScales${n}`]!];
      const [mCodes, vCodes] = [bytesOf(inputs[`mCodes${n}`]!), bytesOf(inputs[`vCodes${n}`]!)];
      const out = (role: number) => outputs[role * count + n]!;
      const [newP, newMCodes, newMScales] = [out(0), bytesOf(out(1)), out(2)];
      const [newVCodes, newVScales] = [bytesOf(out(3)), out(4)];
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
  },
};

/** How many thresholds x has reached. */
function codeOf(x: number, thresholds: Float32Array): number {
  let code = 0;
  for (let width = BLOCK / 2; width >= 1; width >>= 1) if (x >= thresholds[code + width - 1]!) code += width;
  return code;
}
