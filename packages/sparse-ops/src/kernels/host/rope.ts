/**
 * @file RoPE as a loop. Measured on wasm, 640 tokens, 6 heads of 32 (ms, composition → here): 1.7 → 0.3; the composition splits, broadcasts
 * and concatenates.
 */
import type { HostKernel } from './host-kernel.js';

export const ropeOnHost: HostKernel<'SpftRope'> = {
  backends: ['cpu', 'wasm'],
  outputs: ({ x }) => ({ shape: x!.shape, dtype: 'float32' }),
  run: ({ x, cos, sin }, [y], { headDim, inverse }, shapes) => {
    const [T, width] = shapes.x!.shape as [number, number];
    const half = headDim / 2;
    const sign = inverse ? -1 : 1;
    for (let t = 0; t < T; t++) {
      const angle = t * half;
      for (let head = t * width; head < (t + 1) * width; head += headDim) {
        for (let i = 0; i < half; i++) {
          const c = cos![angle + i]!;
          const s = sign * sin![angle + i]!;
          const first = x![head + i]!;
          const second = x![head + half + i]!;
          y![head + i] = first * c - second * s;
          y![head + half + i] = second * c + first * s;
        }
      }
    }
  },
};
