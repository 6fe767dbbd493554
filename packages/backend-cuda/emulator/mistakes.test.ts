/** @file What the emulator finds and refuses, and what it does when asked to. */
import { describe, expect, it } from 'vitest';
import { cuda, describeEmulator, failing, int, numbers } from './describe-emulator.js';

describeEmulator('the emulator', () => {
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
});
