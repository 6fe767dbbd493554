import { describe, expect, it } from 'vitest';
import { type ByteSource, openSource, parseSafetensors, SafetensorsError, serializeSafetensors } from './index.js';

const floats = Float32Array.of(1, -2.5, 3, 1e-7);
const whole = serializeSafetensors({
  a: { dtype: 'F32', shape: [2, 2], data: floats },
  b: { dtype: 'BF16', shape: [2], data: Float32Array.of(1, -2) },
  c: { dtype: 'I64', shape: [1], data: BigInt64Array.of(-7n) },
});

/** The file's bytes at an odd offset of a larger buffer. */
function shifted<T extends Uint8Array>(make: (buffer: ArrayBuffer, at: number, length: number) => T): T {
  const buffer = new ArrayBuffer(whole.length + 64);
  new Uint8Array(buffer).fill(0xee).set(whole, 13);
  return make(buffer, 13, whole.length);
}

/** Subclasses whose own `slice` and `subarray` do other than Uint8Array's. */
class Odd extends Uint8Array {
  override slice(begin?: number, end?: number): Uint8Array<ArrayBuffer> {
    return super.subarray(begin, end) as Uint8Array<ArrayBuffer>;
  }
  override subarray(): never {
    throw new Error('subarray of the subclass');
  }
}

const sources: [string, () => Uint8Array][] = [
  ['a Uint8Array', () => whole],
  ['a Buffer', () => Buffer.from(whole)],
  ['a Buffer at an odd offset', () => shifted((b, at, n) => Buffer.from(b, at, n))],
  ['a Uint8Array at an odd offset', () => shifted((b, at, n) => new Uint8Array(b, at, n))],
  ['another subclass', () => shifted((b, at, n) => new Odd(b, at, n))],
  [
    'shared memory',
    () => {
      const shared = new Uint8Array(new SharedArrayBuffer(whole.length + 8), 8);
      shared.set(whole);
      return shared;
    },
  ],
];

async function expectValues(file: ReturnType<typeof parseSafetensors>): Promise<void> {
  expect(await file.float32('a')).toEqual(floats);
  expect(await file.float32('b')).toEqual(Float32Array.of(1, -2));
  expect(await file.int32('c')).toEqual(Int32Array.of(-7));
  const bytes = await file.bytes('a', 4, 8);
  expect(bytes.constructor).toBe(Uint8Array);
  expect([bytes.byteOffset, bytes.buffer.byteLength]).toEqual([0, 4]);
}

describe.each(sources)('bytes in %s', (_, make) => {
  it('are read alike by parseSafetensors()', async () => {
    await expectValues(parseSafetensors(make()));
  });

  it('are read alike by openSource(), and may be changed by the caller', async () => {
    const bytes = make();
    const source: ByteSource = {
      size: whole.length,
      // What many sources do: a view of what they hold.
      read: async (begin, end) => Uint8Array.prototype.subarray.call(Buffer.from(bytes), begin, end),
      close: async () => {},
    };
    await expectValues(await openSource(source));
    const file = parseSafetensors(bytes);
    (await file.bytes('a')).fill(0);
    expect(await file.float32('a')).toEqual(floats);
  });
});

describe('openSource()', () => {
  it('says that a source gave fewer bytes than it was asked for', async () => {
    const source: ByteSource = {
      name: 'short',
      size: whole.length,
      read: async (begin, end) => whole.slice(begin, Math.min(end, whole.length - 2)),
      close: async () => {},
    };
    const file = await openSource(source);
    await expect(file.bytes('b')).rejects.toThrow(SafetensorsError);
    await expect(file.bytes('b')).rejects.toThrow('the source gave 2');
  });
});
