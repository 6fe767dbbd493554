/** @file Buffers that are given back, and that are kept for the next of their size. */
import { expect, it } from 'vitest';
import { describeWebGPU, useWebGPU, webgpu } from '../../test/webgpu.js';
import { BufferPool } from './buffers.js';

describeWebGPU('BufferPool', () => {
  const usage = () => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;

  it('gives out again what came back, and lets go of what lies unused beyond the bound, oldest first', async () => {
    await useWebGPU();
    const pool = new BufferPool(webgpu().device, 100);
    const [a, b, c] = [
      pool.acquireBuffer(64, usage()),
      pool.acquireBuffer(64, usage()),
      pool.acquireBuffer(256, usage()),
    ];
    expect([pool.numBytesUsed, pool.numBytesAllocated, pool.getNumUsedBuffers()]).toEqual([384, 384, 3]);
    pool.releaseBuffer(a);
    expect(pool.acquireBuffer(64, usage())).toBe(a);
    expect(pool.acquireBuffer(32, usage())).not.toBe(b);
    for (const buffer of [a, c, b]) pool.releaseBuffer(buffer);
    expect(pool.numBytesUsed).toBe(32);
    pool.trim();
    expect([pool.numBytesAllocated, pool.getNumFreeBuffers()]).toEqual([96, 1]);
    expect(pool.acquireBuffer(64, usage())).toBe(b);
    expect(() => pool.releaseBuffer(a)).toThrow('not in use');
    pool.dispose();
    expect(pool.numBytesAllocated).toBe(0);
  });

  it('refuses what no buffer of the device can hold', async () => {
    await useWebGPU();
    const pool = new BufferPool(webgpu().device);
    const { maxStorageBufferBindingSize } = webgpu().device.limits;
    expect(() => pool.acquireBuffer(maxStorageBufferBindingSize + 4, usage())).toThrow(
      /this device has buffers of \d+ bytes at most; take a smaller model/,
    );
    expect([pool.numBytesUsed, pool.numBytesAllocated]).toEqual([0, 0]);
  });

  it('knows the most that was in use at a time, as `spft speed` asks', async () => {
    await useWebGPU();
    const pool = new BufferPool(webgpu().device);
    const buffers = [64, 32].map((size) => pool.acquireBuffer(size, usage()));
    pool.releaseBuffer(buffers[0]!);
    expect([pool.numBytesUsed, pool.peakBytes]).toEqual([32, 96]);
    pool.resetPeak();
    expect(pool.peakBytes).toBe(32);
    pool.acquireBuffer(16, usage());
    expect(pool.peakBytes).toBe(48);
    pool.dispose();
    expect([webgpu().memoryPool, webgpu().largestTensor]).toEqual([webgpu().pool, pool.largest]);
  });

  it('makes whole words, also of nothing', async () => {
    await useWebGPU();
    const pool = new BufferPool(webgpu().device);
    expect([0, 1, 6].map((size) => pool.acquireBuffer(size, usage()).size)).toEqual([4, 4, 8]);
    pool.dispose();
  });
});
