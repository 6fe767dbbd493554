/** @file The k largest in ascending order of index, by sorting a copy for the threshold. */
import type { HostKernel } from './host-kernel.js';

export const topKOnHost: Omit<HostKernel<{ kept: number }>, 'kernelName'> = {
  backends: ['cpu', 'wasm'],
  outputs: (_, { kept }) => ({ shape: [kept], dtype: 'int32' }),
  run: ({ scores }, [indices], { kept }) => {
    // NaN would compare with nothing and leave places of the output unwritten; it counts as the least.
    const values = Float32Array.from(scores!, (v) => (Number.isNaN(v) ? -Infinity : v));
    const threshold = values.slice().sort()[values.length - kept]!;
    let above = 0;
    for (const value of values) if (value > threshold) above++;
    let equal = kept - above;
    for (let i = 0, k = 0; k < kept; i++) {
      const value = values[i]!;
      if (value > threshold || (value === threshold && equal-- > 0)) indices![k++] = i;
    }
  },
};
