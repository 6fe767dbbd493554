/** @file What kernels do on the emulator. */
import { expect, it } from 'vitest';
import { bf16Bits, cuda, describeEmulator, HEADERS, int, numbers, run, small } from './describe-emulator.js';

describeEmulator('kernels on the emulator', () => {
  it('run over a grid of three dimensions', () => {
    const kernel = cuda.kernel(
      'where',
      `extern "C" __global__ void where(int* out) {
         const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
         const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
         out[block * blockDim.x * blockDim.y * blockDim.z + thread] = 1000 * block + thread;
       }`,
    );
    const out = cuda.allocate(4 * 24 * 24);
    expect(cuda.launch(kernel, { grid: [2, 3, 4], block: [4, 3, 2] }, [out])).toBe(0);
    expect([...cuda.words(out, 24 * 24)]).toEqual(
      Array.from({ length: 576 }, (_, i) => 1000 * Math.floor(i / 24) + (i % 24)),
    );
  });

  it('take parameters of several types, and come from macros, headers and definitions', () => {
    const kernel = cuda.kernel(
      'axpy_float',
      `#include "kernels/axpy.cuh"
       AXPY(float)
       AXPY(double)`,
      ['-DOFFSET=3', '-DA=float', '-D', 'I=1', '--define-macro=To=int'],
      {
        'kernels/axpy.cuh': `#define AXPY(T) \\
           extern "C" __global__ void __launch_bounds__(128, 2) axpy_##T(const T* __restrict__ x, T* y, float a, int n, unsigned short skip) { \\
             const int i = blockIdx.x * blockDim.x + threadIdx.x; \\
             if (i < n && i != skip) y[i] += (T)a * x[i] + OFFSET; \\
           }`,
      },
    );
    const x = cuda.upload(numbers(300, small));
    const y = cuda.upload(numbers(300, (i) => i));
    expect(cuda.launch(kernel, { grid: [3], block: [128] }, [x, y, { float: 2 }, int(299), int(5)])).toBe(0);
    expect(cuda.floats(y, 300)).toEqual(numbers(300, (i) => (i === 5 || i === 299 ? i : i + 2 * small(i) + 3)));
  });

  it('reduce over warps and blocks', () => {
    const sums = run(
      'out[t] = warp_sum((float)t); out[256 + t] = block_sum((float)t); out[512 + t] = block_max((float)(t % 200));',
      256,
      768,
    );
    expect(sums).toEqual(
      numbers(768, (i) => (i < 256 ? 32 * 32 * Math.floor(i / 32) + 496 : i < 512 ? (255 * 256) / 2 : 199)),
    );
  });

  it('shuffle, vote, match and reduce within masks', () => {
    const out = run(
      `const unsigned all = 0xffffffffu;
       out[t] = __shfl_sync(all, t, 5, 8);
       out[32 + t] = __shfl_up_sync(all, t, 3);
       out[64 + t] = __shfl_down_sync(all, t, 3, 16);
       out[96 + t] = (float)__popc(__ballot_sync(all, t % 3 == 0));
       if (t < 7) out[128 + t] = __reduce_min_sync(0x7fu, t - 3); else out[128 + t] = __reduce_add_sync(~0x7fu, t);
       out[160 + t] = (float)__popc(__match_any_sync(all, t / 5));
       out[192 + t] = __any_sync(all, t == 31) * 2 + __all_sync(all, t < 31);
       out[224 + t] = (float)__shfl_xor_sync(all, 1.5 * t, 1);`,
      32,
      256,
    );
    const want = [
      (t: number) => (t & ~7) + 5,
      (t: number) => Math.max(t - 3, t < 3 ? t : 0),
      (t: number) => ((t & 15) + 3 < 16 ? t + 3 : t),
      () => 11,
      (t: number) => (t < 7 ? -3 : 496 - 21),
      (t: number) => (t >= 30 ? 2 : 5),
      () => 2,
      (t: number) => 1.5 * (t ^ 1),
    ];
    expect(out).toEqual(numbers(256, (i) => want[Math.floor(i / 32)]!(i % 32)));
  });

  it('count, and decide together at barriers', () => {
    expect(
      run(
        'out[t] = __syncthreads_count(t % 5 == 0) * 4 + __syncthreads_or(t == 63) * 2 + __syncthreads_and(t != 63);',
        64,
        64,
      ),
    ).toEqual(numbers(64, () => 13 * 4 + 2));
  });

  it('add atomically, and know the functions of CUDA without includes', () => {
    expect(
      run(
        `if (t == 0) for (int i = 0; i < 8; i++) out[i] = 0;
         __syncthreads();
         atomicAdd(out, 1.0f); atomicMax((int*)out + 1, __float_as_int((float)t)); atomicCAS((int*)out + 2, 0, __float_as_int(7.0f));
         if (t == 0) {
           out[3] = __brev(1u) >> 31; out[4] = (float)__umulhi(1u << 31, 6u); out[5] = (float)__clz(255); out[6] = min(3, 7) + max(2.5f, 1.0f);
           const float4 v = make_float4(1, 2, 3, 4); out[7] = v.x + v.w + rsqrtf(4.0f) + (float)__float2int_rn(2.5f);
         }`,
        64,
        8,
      ),
    ).toEqual(Float32Array.of(64, 63, 7, 1, 3, 24, 5.5, 7.5));
  });

  it('convert to bf16 to the nearest, ties to even', () => {
    const from = [
      1 + 2 ** -8,
      1 + 3 * 2 ** -8,
      1 + 2 ** -8 + 2 ** -20,
      -1 - 2 ** -7,
      3.4e38,
      Number.POSITIVE_INFINITY,
      Number.NaN,
      1e-40,
    ];
    const kernel = cuda.kernel(
      'convert',
      '#include "spft.cuh"\nextern "C" __global__ void convert(const float* x, u32* y) { y[threadIdx.x] = from_float<bf16>(x[threadIdx.x]).bits; }',
      [HEADERS],
    );
    const y = cuda.allocate(32);
    expect(cuda.launch(kernel, { block: [8] }, [cuda.upload(Float32Array.from(from)), y])).toBe(0);
    expect([...cuda.words(y, 8)]).toEqual([0x3f80, 0x3f82, 0x3f81, 0xbf81, 0x7f80, 0x7f80, 0x7fff, 0x0001]);
  });

  it('multiply on tensor cores from what ldmatrix loads', () => {
    const kernel = cuda.kernel(
      'product',
      `#include "spft.cuh"
       // a [16, 16] and b [16, 8], both by rows; d [16, 8].
       extern "C" __global__ void product(const bf16* a, const bf16* b, float* d) {
         __shared__ __align__(16) bf16 a_tile[16][16], b_tile[16][8];
         const int lane = threadIdx.x;
         for (int i = lane; i < 256; i += 32) a_tile[i / 16][i % 16] = a[i];
         for (int i = lane; i < 128; i += 32) b_tile[i / 8][i % 8] = b[i];
         __syncwarp();
         u32 a_part[4], b_part[4];
         ptx_ldmatrix_x4(a_part, &a_tile[lane % 16][lane / 16 * 8]);
         ptx_ldmatrix_x4_trans(b_part, &b_tile[lane % 16][0]);
         float sums[4] = {100, 100, 100, 100};
         ptx_mma_16816(sums, a_part, b_part[0], b_part[1]);
         for (int i = 0; i < 4; i++) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
       }`,
      [HEADERS],
    );
    const a = (i: number, k: number) => small(16 * i + k);
    const b = (k: number, j: number) => small(31 * k + 5 * j);
    const out = cuda.allocate(512);
    const status = cuda.launch(kernel, { block: [32] }, [
      cuda.upload(Uint16Array.from({ length: 256 }, (_, i) => bf16Bits(a(Math.floor(i / 16), i % 16)))),
      cuda.upload(Uint16Array.from({ length: 128 }, (_, i) => bf16Bits(b(Math.floor(i / 8), i % 8)))),
      out,
    ]);
    expect(status).toBe(0);
    const want = numbers(128, (i) => {
      let sum = 100;
      for (let k = 0; k < 16; k++) sum += a(Math.floor(i / 8), k) * b(k, i % 8);
      return sum;
    });
    expect(cuda.floats(out, 128)).toEqual(want);
  });

  it('copy asynchronously: there after the wait, NaN before it, zeros where not valid', () => {
    const kernel = cuda.kernel(
      'stages',
      `#include "spft.cuh"
       extern "C" __global__ void stages(const float* from, float* out) {
         SPFT_DYNAMIC_SHARED(float, tile);
         const int t = threadIdx.x;
         for (int stage = 0; stage < 3; stage++) {
           ptx_copy_async_16(tile + 4 * (32 * stage + t), from + 4 * (32 * stage + t), t != 31);
           ptx_copy_async_commit();
         }
         ptx_copy_async_wait<1>();
         for (int stage = 0; stage < 3; stage++)
           for (int i = 0; i < 4; i++) out[4 * (32 * stage + t) + i] = tile[4 * (32 * stage + t) + i];
       }`,
      [HEADERS],
    );
    const out = cuda.allocate(4 * 384);
    expect(cuda.launch(kernel, { block: [32], shared: 4 * 384 }, [cuda.upload(numbers(384, (i) => i)), out])).toBe(0);
    expect(cuda.floats(out, 384)).toEqual(numbers(384, (i) => (i >= 256 ? Number.NaN : i % 128 >= 124 ? 0 : i)));
  });

  it('start with NaN in all memory of the device, of every block', () => {
    expect(run('', 32, 4)).toEqual(numbers(4, () => Number.NaN));
    const kernel = cuda.kernel(
      'stale',
      `#include "spft.cuh"
       extern "C" __global__ void stale(float* out) {
         __shared__ float own[4];
         SPFT_DYNAMIC_SHARED(float, given);
         out[2 * blockIdx.x] = own[0];
         out[2 * blockIdx.x + 1] = given[0];
         own[0] = given[0] = 1;
       }`,
      [HEADERS],
    );
    const out = cuda.allocate(16);
    expect(cuda.launch(kernel, { grid: [2], block: [1], shared: 16 }, [out])).toBe(0);
    expect(cuda.floats(out, 4)).toEqual(numbers(4, () => Number.NaN));
  });

  it('show by the order of threads that a barrier is missing', () => {
    const body = '__shared__ float x[64]; x[t] = t; out[t] = x[63 - t];';
    expect(run(body, 64, 64)[0]).toBeNaN();
    process.env.SPFT_EMULATOR_ORDER = 'reverse';
    expect(run(body, 64, 64)[63]).toBeNaN();
    expect(run(body.replace('; out', '; __syncthreads(); out'), 64, 64)).toEqual(numbers(64, (i) => 63 - i));
  });
});
