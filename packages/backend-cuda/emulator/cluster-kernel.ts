/** @file Kernels of clusters in the emulator's tests, and the matrix of which they copy boxes. */
import { cuda, HEADERS, int } from './describe-emulator.js';

export const [ROWS, COLUMNS, STRIDE] = [20, 160, 176];
export const byteAt = (row: number, column: number) => (row * 31 + column * 7) % 251;
export const inside = (row: number, column: number) => (row < ROWS && column < COLUMNS ? byteAt(row, column) : 0);

/** A map of the matrix in boxes of eight rows, in memory that stays, and where the matrix is. */
export function mapOf({ swizzle = 3, stride = STRIDE } = {}): {
  status: number;
  at: bigint;
  matrix: bigint;
} {
  const bytes = new Uint8Array(ROWS * STRIDE).map((_, i) => byteAt(Math.floor(i / STRIDE), i % STRIDE));
  const matrix = cuda.upload(bytes);
  const { address } = cuda.pinned(32);
  const [sizes, strides] = [BigUint64Array.of(BigInt(COLUMNS), BigInt(ROWS)), BigUint64Array.of(BigInt(stride))];
  const [box, steps] = [Uint32Array.of(128, 8), Uint32Array.of(1, 1)];
  const args = [address, 0, 2, matrix, sizes, strides, box, steps, 0, swizzle, 3, 0] as const;
  return {
    status: cuda.call('cuTensorMapEncodeTiled', ...args),
    at: address,
    matrix,
  };
}

/** A kernel of clusters of two blocks, each with two tiles of 1024 bytes and two barriers of one arrival; `read` gives a tile's byte. */
const kernelOf = (body: string) =>
  cuda.kernel(
    'k',
    `#include "spft.cuh"
     #include "ptx-codes.cuh"
     extern "C" __global__ void __cluster_dims__(2, 1, 1) k(const __grid_constant__ TensorMap map, float* out, int x, int y) {
       SPFT_DYNAMIC_SHARED(u8, shared);
       const int t = threadIdx.x, block = blockIdx.x % 2;
       const u32 begin = ptx_shared_address(shared), tile = (begin + 1023) & ~1023u, full = tile + 2048, other = full + 8;
       auto read = [&](int i) { return (float)shared[tile - begin + (i ^ (i >> 7 & 7) << 4)]; };
       if (t == 0) ptx_barrier_init(full, 1), ptx_barrier_init(other, 1), ptx_fence_barriers();
       ptx_cluster_meet();
       ${body}
       ptx_cluster_meet();
     }`,
    [HEADERS],
  );
/** Runs such a kernel with a map of a fresh matrix: what it returns, gives in `out`, and makes of the matrix. */
export function launch(body: string, count: number, [x, y] = [96, 15], grid = 2) {
  const out = cuda.allocate(4 * count);
  const { at, matrix } = mapOf();
  const args = [{ at }, out, int(x), int(y)];
  const status = cuda.launch(kernelOf(body), { grid: [grid], block: [128], shared: 4096 }, args);
  if (status !== 0) return { status, out: null, bytes: null };
  return {
    status,
    out: cuda.floats(out, count),
    bytes: new Uint8Array(cuda.words(matrix, (ROWS * STRIDE) / 4).buffer),
  };
}

/** Before what one thread of a cluster does. */
export const FIRST = 'if (t == 0 && block == 0)';
