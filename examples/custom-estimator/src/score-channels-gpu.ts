/**
 * @file The same scores by gpu.js, which compiles the body of one thread for what the machine has: WebGL in a browser and with headless-gl,
 * WebAssembly or JavaScript elsewhere. The body is read from the function's own text, so it may name nothing but its arguments, `this`
 * and `Math`.
 */
import { GPU, type IKernelFunctionThis, type IKernelRunShortcut } from 'gpu.js';
import type { MlpWeights, ScoreChannels } from './score-channels.js';

type Constants = { readonly hidden: number; readonly gate: number[]; readonly up: number[]; readonly reach: number[] };

/** One thread a channel. */
function scoreChannel(this: IKernelFunctionThis<Constants>, mean: number[]): number {
  let g = 0;
  let u = 0;
  for (let h = 0; h < this.constants.hidden; h++) {
    g += mean[h]! * this.constants.gate[this.thread.x * this.constants.hidden + h]!;
    u += mean[h]! * this.constants.up[this.thread.x * this.constants.hidden + h]!;
  }
  return Math.abs((g / (1 + Math.exp(-g))) * u) * this.constants.reach[this.thread.x]!;
}

export interface GpuScores {
  readonly scoreChannels: ScoreChannels;
  /** What gpu.js compiled for, e.g. `WebGL2Kernel`, `WebAssemblyKernel`; null before the first scores. */
  readonly compiledFor: () => string | null;
  dispose(): Promise<void>;
}

/** @param mode of gpu.js; by default the best that there is. */
export function createGpuScores(mode?: 'gpu' | 'cpu'): GpuScores {
  const gpu = new GPU(mode === undefined ? {} : { mode });
  // The weights are a kernel's constants, so that they go to the device once: a kernel for each layer.
  const kernels = new Map<MlpWeights, IKernelRunShortcut>();
  let compiledFor: string | null = null;
  return {
    scoreChannels(mean, weights) {
      let kernel = kernels.get(weights);
      if (!kernel) {
        kernel = gpu.createKernel(scoreChannel as never, { output: [weights.reach.length], constants: { ...weights } });
        kernels.set(weights, kernel);
      }
      const scores = kernel(mean as never) as Float32Array;
      compiledFor ??= kernel.kernel.constructor.name;
      return scores;
    },
    compiledFor: () => compiledFor,
    dispose: () => gpu.destroy(),
  };
}
