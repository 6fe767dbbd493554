import { describe, expect, it } from 'vitest';
import { integers } from '../../../../bench/support/random.js';
import { Allocator, type Block } from './allocator.js';
import { Heap } from './heap.js';

describe('Allocator', () => {
  it('gives out no place twice, and in the end has one stretch again', () => {
    const allocator = new Allocator(100, 2 ** 22, () => true);
    const taken: Block[] = [];
    const numbers = integers(4000, 2 ** 30, 7);
    for (let i = 0; i < numbers.length; i += 2) {
      if (numbers[i]! % 5 < 3) {
        const block = allocator.allocate(numbers[i + 1]! % 20_000);
        if (block) taken.push(block);
      } else if (taken.length > 0) {
        allocator.free(taken.splice(numbers[i + 1]! % taken.length, 1)[0]!);
      }
      const sorted = [...taken].sort((a, b) => a.address - b.address);
      const overlap = sorted.find((block, n) => n > 0 && block.address < sorted[n - 1]!.address + sorted[n - 1]!.bytes);
      expect(overlap).toBeUndefined();
      expect(allocator.used).toBe(taken.reduce((sum, { bytes }) => sum + bytes, 0));
    }
    for (const block of taken) allocator.free(block);
    expect(allocator.used).toBe(0);
    const end = allocator.end;
    const whole = allocator.allocate(end - 128)!;
    expect([whole.address, allocator.end]).toEqual([128, end]);
  });

  it('has what was just given back first', () => {
    const allocator = new Allocator(0, 2 ** 20, () => true);
    const [first] = [allocator.allocate(1000)!, allocator.allocate(1000)!];
    const { address } = first;
    allocator.free(first);
    expect(allocator.allocate(1000)!.address).toBe(address);
  });

  it('says when there is no room, and when a block is given back twice', () => {
    const allocator = new Allocator(0, 1024, (end) => end <= 1024);
    const block = allocator.allocate(1024)!;
    expect(allocator.allocate(1)).toBeNull();
    allocator.free(block);
    expect(() => allocator.free(block)).toThrow('internal: a block of memory was given back twice');
  });
});

describe('Heap', () => {
  it('keeps views true while it grows', () => {
    const heap = new Heap({ reserved: 64 });
    const first = heap.f32(heap.allocate(16)!.address, 4);
    first.fill(7);
    heap.f32(heap.allocate(2 ** 26)!.address, 2 ** 24).fill(1);
    expect([...first]).toEqual([7, 7, 7, 7]);
    expect(first.buffer.byteLength).toBeGreaterThan(0);
  });

  it('keeps a reserve for scratch when tensors have filled the rest', () => {
    const heap = new Heap({ reserved: 64, limit: 4096 });
    expect(heap.allocate(4096)).not.toBeNull();
    expect(heap.allocate(64)).toBeNull();
    expect(heap.takeScratch(64)).not.toBeNull();
  });
});
