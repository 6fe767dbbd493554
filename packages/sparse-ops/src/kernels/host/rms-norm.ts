/**
 * @file RMSNorm as loops, for `cpu` only: 640 tokens of 192 channels take 0.5 ms instead of 26 forward and 0.9 instead of 40 backward. On
 * wasm the composition's vectorised passes are as fast (0.39 and 0.8 ms; loops with several partial sums 0.35 and 0.65 at best).
 */
import type { HostKernel } from './host-kernel.js';

export const rmsNormOnHost: HostKernel<'SpftRmsNorm'> = {
  backends: ['cpu'],
  outputs: ({ x }) => ({ shape: x!.shape, dtype: 'float32' }),
  run: ({ x, weight }, [y], { eps }, shapes) => {
    const [T, H] = shapes.x!.shape as [number, number];
    for (let t = 0; t < T; t++) {
      const row = t * H;
      let squares = 0;
      for (let h = 0; h < H; h++) squares += x![row + h]! * x![row + h]!;
      const scale = 1 / Math.sqrt(squares / H + eps);
      for (let h = 0; h < H; h++) y![row + h] = x![row + h]! * scale * weight![h]!;
    }
  },
};

export const rmsNormGradOnHost: HostKernel<'SpftRmsNormGrad'> = {
  backends: ['cpu'],
  outputs: ({ x }) => ({ shape: x!.shape, dtype: 'float32' }),
  run: ({ x, weight, dy }, [dx], { eps }, shapes) => {
    const [T, H] = shapes.x!.shape as [number, number];
    for (let t = 0; t < T; t++) {
      const row = t * H;
      let squares = 0;
      let dot = 0;
      for (let h = 0; h < H; h++) {
        const value = x![row + h]!;
        squares += value * value;
        dot += value * dy![row + h]! * weight![h]!;
      }
      // dx = r·(w·dy) − x·r³·(x·(w·dy))/H with r = 1/√(mean x² + ε)
      const scale = 1 / Math.sqrt(squares / H + eps);
      const along = (scale * scale * scale * dot) / H;
      for (let h = 0; h < H; h++) dx![row + h] = dy![row + h]! * weight![h]! * scale - x![row + h]! * along;
    }
  },
};
