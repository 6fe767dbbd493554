/**
 * @file Reductions over tokens: rows added into an accumulator, so that memory is read in order.
 */
import type { HostKernel } from './host-kernel.js';

export const columnNormsOnHost: Omit<HostKernel<object>, 'kernelName'> = {
  backends: ['cpu', 'wasm'],
  outputs: ({ x }) => ({ shape: [x!.shape[1]!], dtype: 'float32' }),
  run: ({ x }, [norms], _, shapes) => {
    const [rows, n] = shapes.x!.shape as [number, number];
    const squares = new Float64Array(n);
    for (let r = 0, p = 0; r < rows; r++) {
      for (let c = 0; c < n; c++, p++) squares[c]! += x![p]! * x![p]!;
    }
    for (let c = 0; c < n; c++) norms![c] = Math.sqrt(squares[c]!);
  },
};

/** Attributes: sequence of each row, and each sequence's share 1/length. */
export const sequenceMeansOnHost: Omit<
  HostKernel<{ sequenceOfRow: Int32Array; shares: Float32Array }>,
  'kernelName'
> = {
  backends: ['cpu', 'wasm'],
  outputs: ({ x }, { shares }) => ({ shape: [shares.length, x!.shape[1]!], dtype: 'float32' }),
  run: ({ x }, [means], { sequenceOfRow, shares }, shapes) => {
    const [rows, n] = shapes.x!.shape as [number, number];
    means!.fill(0);
    for (let r = 0, p = 0; r < rows; r++) {
      const b = sequenceOfRow[r]!;
      const share = shares[b]!;
      for (let q = b * n, end = q + n; q < end; q++) means![q]! += share * x![p++]!;
    }
  },
};
