/**
 * @file Sums over tokens, by column: four rows at a time, so that the accumulator is touched a quarter as often.
 *
 * wasm, 600×768 (Node 20, one thread of a Xeon): 0.5 ms, the composition 1.8, as tfjs transposes before it sums over rows.
 */
import type { HostKernel } from './host-kernel.js';

export const columnDotsOnHost: HostKernel<'SpftColumnDots'> = {
  backends: ['cpu', 'wasm'],
  outputs: ({ a }) => ({ shape: [a!.shape[1]!], dtype: 'float32' }),
  run: (inputs, [dots], _, shapes) => {
    const [a, b] = [inputs.a!, inputs.b!];
    const [rows, n] = shapes.a!.shape as [number, number];
    dots!.fill(0);
    let r = 0;
    for (; r + 4 <= rows; r += 4) {
      let p0 = r * n;
      let p1 = p0 + n;
      let p2 = p1 + n;
      let p3 = p2 + n;
      for (let c = 0; c < n; c++) {
        dots![c]! += a[p0]! * b[p0++]! + a[p1]! * b[p1++]! + a[p2]! * b[p2++]! + a[p3]! * b[p3++]!;
      }
    }
    for (let p = r * n; r < rows; r++) {
      for (let c = 0; c < n; c++, p++) dots![c]! += a[p]! * b[p]!;
    }
  },
};
