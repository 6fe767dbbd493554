/** @file What the emulator does and what it finds, called as the backend calls CUDA but without the backend. */
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { emulatorFolder, whyNoEmulator } from './folder.js';
import { Libraries, loadKoffi } from './libraries.js';

const HEADERS = `-I${fileURLToPath(new URL('../cuda', import.meta.url))}`;
const koffi = loadKoffi();
const why = koffi ? whyNoEmulator() : 'koffi is not installed';

const bf16Bits = (x: number): number => new Uint32Array(new Float32Array([x]).buffer)[0]! >>> 16;
const numbers = (count: number, of: (i: number) => number) => Float32Array.from({ length: count }, (_, i) => of(i));
/** Small integers, whose products and sums are exact in every format. */
const small = (i: number): number => ((i * 7919) % 9) - 4;
const int = (value: number) => ({ int: value });

describe.skipIf(why)(`the CUDA emulator${why ? ` (${why})` : ''}`, () => {
  let cuda: Libraries;
  beforeAll(() => {
    process.env.SPFT_EMULATOR_QUIET = '1';
    process.env.SPFT_EMULATOR_HEALS = '1';
    cuda = new Libraries(koffi!, emulatorFolder());
  }, 240_000);
  afterEach(() => {
    for (const name of Object.keys(process.env)) {
      if (
        name.startsWith('SPFT_EMULATOR_') &&
        !['SPFT_EMULATOR_QUIET', 'SPFT_EMULATOR_HEALS', 'SPFT_EMULATOR_CACHE'].includes(name)
      )
        delete process.env[name];
    }
    cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
  });

  /** Runs a kernel of one block whose first parameter is an array of floats; returns the array. */
  function run(body: string, threads: number, count: number, shared = 0): Float32Array {
    const kernel = cuda.kernel(
      'k',
      `#include "spft.cuh"\nextern "C" __global__ void k(float* out) { const int t = threadIdx.x; ${body} }`,
      [HEADERS],
    );
    const out = cuda.allocate(4 * count);
    const status = cuda.launch(kernel, { block: [threads], shared }, [out]);
    if (status !== 0) throw new Error(`the launch returned ${status}`);
    return cuda.floats(out, count);
  }
  const failing = (body: string, threads = 64): number => {
    const kernel = cuda.kernel(
      'k',
      `#include "spft.cuh"\nextern "C" __global__ void k(float* out) { const int t = threadIdx.x; ${body} }`,
      [HEADERS],
    );
    return cuda.launch(kernel, { block: [threads] }, [cuda.allocate(4096)]);
  };

  describe('kernels', () => {
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

  describe('compiling', () => {
    it('reports errors by file and line', () => {
      expect(cuda.compile('extern "C" __global__ void k(float* x) {\n  x[0] = y;\n}')).toMatch(
        /^6: .*test\.cu:2:\d+: error: .*y.* was not declared/s,
      );
      expect(cuda.compile('#include "nowhere.cuh"')).toMatch(/^6: .*test\.cu:1:.*nowhere\.cuh/s);
      expect(cuda.compile('', ['--bogus'])).toMatch(/^5: .*--bogus/);
    });

    it('exports no more than extern "C" kernels', () => {
      const image = cuda.compile(
        '__global__ void mangled() {}\nextern "C" __global__ void plain() {}\nextern "C" void host() {}',
      );
      const module = cuda.made('cuModuleLoadData', image as Buffer);
      expect(cuda.call('cuModuleGetFunction', Buffer.allocUnsafeSlow(8), module, 'plain')).toBe(0);
      for (const name of ['mangled', 'host', 'absent']) {
        expect(cuda.call('cuModuleGetFunction', Buffer.allocUnsafeSlow(8), module, name)).toBe(500);
      }
    });

    it('makes images for one generation of GPUs', () => {
      const image = cuda.compile('extern "C" __global__ void k() {}') as Buffer;
      process.env.SPFT_EMULATOR_CAPABILITY = '8.0';
      expect(cuda.call('cuModuleLoadData', Buffer.allocUnsafeSlow(8), image)).toBe(209);
      expect(cuda.call('cuModuleLoadData', Buffer.allocUnsafeSlow(8), Buffer.alloc(64))).toBe(200);
    });
  });

  describe('mistakes', () => {
    it('in a launch are refused', () => {
      const kernel = cuda.kernel('k', 'extern "C" __global__ void __launch_bounds__(256) k() {}');
      expect(cuda.launch(kernel, { block: [256] }, [])).toBe(0);
      expect(cuda.launch(kernel, { block: [257] }, [])).toBe(1);
      expect(cuda.launch(kernel, { grid: [0], block: [32] }, [])).toBe(1);
      expect(cuda.launch(kernel, { grid: [1, 65536], block: [32] }, [])).toBe(1);
      expect(cuda.launch(kernel, { block: [32], shared: 49153 }, [])).toBe(1);
      expect(cuda.call('cuFuncSetAttribute', kernel, 8, 227 * 1024 + 1)).toBe(1);
      cuda.ok('cuFuncSetAttribute', kernel, 8, 227 * 1024);
      expect(cuda.launch(kernel, { block: [32], shared: 227 * 1024 }, [])).toBe(0);
      expect(cuda.launch(0n, { block: [32] }, [])).toBe(400);
    });

    it.each([
      ['a barrier that not all reach', 'if (t < 40) __syncthreads();', 719],
      ['barriers of two kinds at once', 'if (t < 32) __syncthreads(); else __syncthreads_or(1);', 719],
      ['a shuffle without one of its lanes', 'if (t != 7) out[t] = __shfl_xor_sync(0xffffffffu, t, 1);', 719],
      ['a lane that its own mask does not name', 'out[t] = __shfl_xor_sync(0x0000ffffu, t, 1);', 719],
      ['lanes in different functions', 'if (t & 1) __syncwarp(); else __ballot_sync(0xffffffffu, 1);', 719],
      ['ldmatrix from elsewhere than shared memory', 'u32 r[4]; ptx_ldmatrix_x4(r, out);', 700],
      [
        'ldmatrix from a row that is not aligned',
        '__shared__ Words4 x[9]; u32 r[4]; ptx_ldmatrix_x4(r, (u8*)x + 2);',
        716,
      ],
      ['a null pointer', 'out = nullptr; out[t] = 1;', 700],
      ['a failed assertion', 'assert(t < 63);', 710],
      ['__trap()', '__trap();', 719],
      [
        'a recursion without end',
        'struct F { static float f(volatile float* x) { return x[0] > 1e30f ? 0 : f(x) + x[1]; } }; out[0] = 0; out[t] = F::f(out);',
        719,
      ],
    ])('in a kernel break the context: %s', (_, body, status) => {
      expect(failing(body)).toBe(status);
      expect(cuda.call('cuCtxSynchronize')).toBe(status);
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
      expect(cuda.call('cuCtxSynchronize')).toBe(0);
    });

    it('of bounds are found when the device is waited for, or at once with guards', () => {
      const kernel = cuda.kernel('k', 'extern "C" __global__ void k(float* x, int i) { x[i] = 1; }');
      expect(cuda.launch(kernel, { block: [1] }, [cuda.allocate(400), int(100)])).toBe(0);
      expect(cuda.call('cuCtxSynchronize')).toBe(700);
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
      process.env.SPFT_EMULATOR_GUARD = '1';
      const x = cuda.allocate(400);
      expect(cuda.launch(kernel, { block: [1] }, [x, int(99)])).toBe(0);
      expect(cuda.launch(kernel, { block: [1] }, [x, int(100)])).toBe(700);
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
      const freed = cuda.allocate(400);
      cuda.ok('cuMemFree_v2', freed);
      expect(cuda.launch(kernel, { block: [1] }, [freed, int(0)])).toBe(700);
    });

    it('in copies are refused', () => {
      const x = cuda.allocate(400);
      expect(cuda.call('cuMemcpyHtoD_v2', x, new Float32Array(101), 404)).toBe(1);
      expect(cuda.call('cuMemcpyDtoD_v2', x, x + 200n, 204)).toBe(1);
      expect(cuda.call('cuMemsetD32_v2', x + 2n, 0, 1)).toBe(1);
      expect(cuda.call('cuMemFree_v2', x + 4n)).toBe(1);
      expect(cuda.call('cuMemFree_v2', x)).toBe(0);
      expect(cuda.call('cuMemFree_v2', x)).toBe(1);
    });

    it('can be made on purpose', () => {
      process.env.SPFT_EMULATOR_FAIL = 'cuMemAlloc_v2:3:700,cuCtxSynchronize:2+:719';
      const statuses = (name: string, ...args: number[]) =>
        [1, 2, 3, 4].map(() =>
          cuda.call(name, ...(name === 'cuMemAlloc_v2' ? [Buffer.allocUnsafeSlow(8)] : []), ...args),
        );
      expect(statuses('cuMemAlloc_v2', 64)).toEqual([0, 0, 700, 0]);
      expect(statuses('cuCtxSynchronize')).toEqual([0, 719, 719, 719]);
    });
  });

  it('lets asynchronous work wait until it is waited for, if asked to', () => {
    const stream = cuda.made('cuStreamCreate', 1);
    const kernel = cuda.kernel('k', 'extern "C" __global__ void k(float* x, int i) { x[i] += 1; }');
    const x = cuda.upload(numbers(4, (i) => i));
    const before = cuda.pinned(4);
    const after = cuda.pinned(4);
    const event = cuda.made('cuEventCreate', 0);
    process.env.SPFT_EMULATOR_ASYNC = '1';
    before.floats.fill(10);
    cuda.ok('cuMemcpyHtoDAsync_v2', x, before.address, 16, stream);
    before.floats.fill(20);
    expect(cuda.launch(kernel, { block: [1] }, [x, int(2)])).toBe(0);
    cuda.ok('cuMemcpyDtoHAsync_v2', after.address, x, 16, stream);
    cuda.ok('cuEventRecord', event, stream);
    cuda.ok('cuMemFreeAsync', x, stream);
    expect(after.floats).toEqual(numbers(4, () => Number.NaN));
    expect(cuda.call('cuEventElapsedTime', new Float32Array(1), event, event)).toBe(600);
    expect([1, 2, 3, 4, 5].map(() => cuda.call('cuEventQuery', event))).toEqual([600, 600, 600, 600, 0]);
    expect(after.floats).toEqual(Float32Array.of(20, 20, 21, 20));
    expect(cuda.launch(kernel, { block: [1] }, [0n, int(2)])).toBe(0);
    expect(cuda.call('cuStreamSynchronize', stream)).toBe(700);
  });

  it('runs out of memory, and counts what its pool holds', () => {
    process.env.SPFT_EMULATOR_MEMORY = String(64 << 20);
    const pool = cuda.made('cuDeviceGetDefaultMemPool', 0);
    const attribute = (number: number) => {
      const value = Buffer.allocUnsafeSlow(8);
      cuda.ok('cuMemPoolGetAttribute', pool, number, value);
      return Number(value.readBigUInt64LE(0));
    };
    const free = () => {
      const value = Buffer.allocUnsafeSlow(16);
      cuda.ok('cuMemGetInfo_v2', value, value.subarray(8));
      return Number(value.readBigUInt64LE(0));
    };
    const first = cuda.made('cuMemAllocAsync', 40 << 20, 0);
    expect(cuda.call('cuMemAllocAsync', Buffer.allocUnsafeSlow(8), 40 << 20, 0)).toBe(2);
    expect([attribute(7), attribute(5), free()]).toEqual([40 << 20, 40 << 20, 24 << 20]);
    cuda.ok('cuMemFree_v2', first);
    expect([attribute(7), attribute(8), attribute(5)]).toEqual([0, 40 << 20, 40 << 20]);
    cuda.ok('cuMemPoolTrimTo', pool, 0);
    expect([attribute(5), free()]).toEqual([0, 64 << 20]);
  });

  describe('cuBLASLt', () => {
    const F32 = 0;
    const BF16 = 14;
    const number32 = (x: number) => new Int32Array([x]);
    const values = (type: number, count: number, of: (i: number) => number) =>
      type === F32 ? numbers(count, of) : Uint16Array.from({ length: count }, (_, i) => bf16Bits(of(i)));

    interface Product {
      m: number;
      n: number;
      k: number;
      a?: number;
      b?: number;
      d?: number;
      transposeA?: boolean;
      transposeB?: boolean;
      batches?: number;
      beta?: number;
      bias?: boolean;
      rowOrder?: boolean;
      leading?: number;
    }

    /** The status of the heuristic and of the product, and what it gave, beside what it should have. */
    function multiply(p: Product): { statuses: number[]; got: number[]; want: number[] } {
      const {
        m,
        n,
        k,
        a = F32,
        b = a,
        d = F32,
        transposeA = false,
        transposeB = false,
        batches = 1,
        beta = 0,
        rowOrder = false,
      } = p;
      const handle = cuda.made('cublasLtCreate');
      const product = cuda.made('cublasLtMatmulDescCreate', 68, F32);
      cuda.ok('cublasLtMatmulDescSetAttribute', product, 3, number32(Number(transposeA)), 4);
      cuda.ok('cublasLtMatmulDescSetAttribute', product, 4, number32(Number(transposeB)), 4);
      // One more than needed between columns (rows, if by rows), and three between matrices.
      const layout = (type: number, rows: number, columns: number) => {
        const leading = (rowOrder ? columns : rows) + (p.leading ?? 1);
        const size = leading * (rowOrder ? rows : columns) + 3;
        const made = cuda.made('cublasLtMatrixLayoutCreate', type, rows, columns, leading);
        if (rowOrder) cuda.ok('cublasLtMatrixLayoutSetAttribute', made, 1, number32(1), 4);
        cuda.ok('cublasLtMatrixLayoutSetAttribute', made, 5, number32(batches), 4);
        cuda.ok('cublasLtMatrixLayoutSetAttribute', made, 6, new BigInt64Array([BigInt(size)]), 8);
        const at = (i: number, j: number, batch: number) =>
          batch * size + (rowOrder ? i * leading + j : j * leading + i);
        return { made, at, total: size * batches };
      };
      const la = transposeA ? layout(a, k, m) : layout(a, m, k);
      const lb = transposeB ? layout(b, n, k) : layout(b, k, n);
      const ld = layout(d, m, n);
      const ofB = (i: number) => small(3 * i + 1);
      const addresses = [
        cuda.upload(values(a, la.total, small)),
        cuda.upload(values(b, lb.total, ofB)),
        beta ? cuda.upload(values(d, ld.total, small)) : cuda.allocate(ld.total * 4),
        cuda.allocate(ld.total * 4),
      ] as const;
      if (p.bias) {
        cuda.ok('cublasLtMatmulDescSetAttribute', product, 7, number32(4), 4);
        const bias = cuda.upload(values(d, m, (i) => 8 * small(i)));
        cuda.ok('cublasLtMatmulDescSetAttribute', product, 8, new BigUint64Array([bias]), 8);
      }
      const preference = cuda.made('cublasLtMatmulPreferenceCreate');
      cuda.ok('cublasLtMatmulPreferenceSetAttribute', preference, 1, new BigUint64Array([1n << 20n]), 8);
      const workspace = cuda.allocate(1 << 20);
      const results = Buffer.allocUnsafeSlow(96 * 4);
      const found = Buffer.allocUnsafeSlow(4);
      const layouts = [la.made, lb.made, ld.made, ld.made] as const;
      const statuses = [
        cuda.call('cublasLtMatmulAlgoGetHeuristic', handle, product, ...layouts, preference, 4, results, found),
      ];
      if (statuses[0] !== 0) return { statuses, got: [], want: [] };
      expect(found.readInt32LE(0)).toBe(2);
      const [pa, pb, pc, pd] = addresses;
      statuses.push(
        cuda.call(
          'cublasLtMatmul',
          handle,
          product,
          new Float32Array([2]),
          pa,
          la.made,
          pb,
          lb.made,
          new Float32Array([beta]),
          pc,
          ld.made,
          pd,
          ld.made,
          results.subarray(96),
          workspace,
          1 << 20,
          0,
        ),
      );
      const words = cuda.words(pd, d === F32 ? ld.total : Math.ceil(ld.total / 2));
      const floats =
        d === F32
          ? new Float32Array(words.buffer)
          : new Float32Array(Uint32Array.from(new Uint16Array(words.buffer), (x) => x << 16).buffer);
      const got: number[] = [];
      const want: number[] = [];
      for (let batch = 0; batch < batches; batch++)
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let l = 0; l < k; l++)
              sum +=
                small(transposeA ? la.at(l, i, batch) : la.at(i, l, batch)) *
                ofB(transposeB ? lb.at(j, l, batch) : lb.at(l, j, batch));
            const x = 2 * sum + (beta ? beta * small(ld.at(i, j, batch)) : 0) + (p.bias ? 8 * small(i) : 0);
            want.push(d === F32 ? x : Math.fround(x));
            got.push(floats[ld.at(i, j, batch)]!);
          }
      return { statuses, got, want };
    }

    const transpositions = [false, true].flatMap((transposeA) =>
      [false, true].map((transposeB) => ({ transposeA, transposeB })),
    );
    it.each(transpositions)('multiplies with $transposeA and $transposeB for transpositions', (transposed) => {
      for (const shape of [
        { m: 37, n: 13, k: 300 },
        { m: 1, n: 1, k: 1 },
        { m: 130, n: 6, k: 17 },
      ]) {
        for (const more of [
          {},
          { a: BF16, d: F32 },
          { batches: 3, beta: 1 },
          { bias: true },
          { rowOrder: true, beta: 3 },
        ]) {
          const { statuses, got, want } = multiply({ ...shape, ...transposed, ...more });
          expect(statuses).toEqual([0, 0]);
          expect(got).toEqual(want);
        }
      }
    });

    it('rounds to bf16', () => {
      // Sums below 256 are exact in bf16.
      const { statuses, got, want } = multiply({ m: 20, n: 9, k: 5, a: BF16, d: BF16, beta: 1 });
      expect(statuses).toEqual([0, 0]);
      expect(got).toEqual(want);
    });

    it('refuses what the real one refuses', () => {
      const shape = { m: 8, n: 8, k: 8 };
      expect(multiply({ ...shape, leading: -1 }).statuses).toEqual([7]);
      expect(multiply({ ...shape, a: BF16, b: F32 }).statuses).toEqual([15]);
      expect(multiply({ ...shape, a: F32, d: BF16 }).statuses).toEqual([15]);
      process.env.SPFT_EMULATOR_BLAS_ANY = '1';
      expect(multiply({ ...shape, a: BF16, b: F32 }).statuses).toEqual([0, 0]);
    });
  });
});
