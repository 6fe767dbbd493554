/**
 * @file Transposition of a matrix in plain loops, eight rows at a time so that writes are in runs.
 *
 * wasm, 768×768 (Node 20, one thread of a Xeon): 0.7 to 1.2 ms, tfjs's kernel 2.0.
 */
import type { HostArray, HostKernel } from './host-kernel.js';

/** `to` [columns, rows] becomes the transpose of `from` [rows, columns]. */
export function transposeInto(to: HostArray, from: HostArray, rows: number, columns: number): void {
  let r = 0;
  for (; r + 8 <= rows; r += 8) {
    const p0 = r * columns;
    const p1 = p0 + columns;
    const p2 = p1 + columns;
    const p3 = p2 + columns;
    const p4 = p3 + columns;
    const p5 = p4 + columns;
    const p6 = p5 + columns;
    const p7 = p6 + columns;
    for (let c = 0, q = r; c < columns; c++, q += rows) {
      to[q] = from[p0 + c]!;
      to[q + 1] = from[p1 + c]!;
      to[q + 2] = from[p2 + c]!;
      to[q + 3] = from[p3 + c]!;
      to[q + 4] = from[p4 + c]!;
      to[q + 5] = from[p5 + c]!;
      to[q + 6] = from[p6 + c]!;
      to[q + 7] = from[p7 + c]!;
    }
  }
  for (; r < rows; r++) {
    for (let c = 0, q = r; c < columns; c++, q += rows) to[q] = from[r * columns + c]!;
  }
}

export const transposeOnHost: HostKernel<'SpftTranspose2d'> = {
  backends: ['cpu', 'wasm'],
  outputs: ({ x }) => ({ shape: [x!.shape[1]!, x!.shape[0]!], dtype: 'float32' }),
  run: ({ x }, [y], _, shapes) => transposeInto(y!, x!, shapes.x!.shape[0]!, shapes.x!.shape[1]!),
};
