/** @file Columns that are not kept, zeroed on sparse rows. */
import type { HostKernel } from './host-kernel.js';

export const maskColumnsOnHost: HostKernel<'SpftMaskColumns'> = {
  backends: ['cpu', 'wasm'],
  outputs: ({ x }) => ({ shape: x!.shape, dtype: 'float32' }),
  run: ({ x, indices }, [y], { fromRow }, shapes) => {
    const [rows, n] = shapes.x!.shape as [number, number];
    const start = fromRow * n;
    y!.set(x!.subarray(0, start));
    y!.fill(0, start);
    for (let r = fromRow, p = start; r < rows; r++, p += n) {
      for (let k = 0; k < indices!.length; k++) {
        const at = p + indices![k]!;
        y![at] = x![at]!;
      }
    }
  },
};
