import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openSource, parseSafetensors, serializeSafetensors } from './index.js';

const fixture = new Uint8Array(readFileSync(new URL('../fixtures/mixed.safetensors', import.meta.url)));
const values = [0, -0, 1, -2.5, 65504, 6e-8, 1 / 3, -1e-5];

describe('SafetensorsFile', () => {
  const file = parseSafetensors(fixture, 'mixed.safetensors');

  it('has the names, shapes, dtypes and metadata that the Python library wrote', () => {
    expect(file.metadata).toEqual({ format: 'pt' });
    expect(file.names).toHaveLength(15);
    expect(file.entry('f32')).toMatchObject({ dtype: 'F32', shape: [2, 4] });
    expect(file.entry('scalar')).toMatchObject({ dtype: 'F32', shape: [] });
    expect(file.entry('empty')).toMatchObject({ dtype: 'F32', shape: [0, 3] });
    expect(file.has('naïve \u{1f600} "quoted"')).toBe(true);
  });

  it('reads every floating-point type as float32', async () => {
    expect(await file.float32('f32')).toEqual(Float32Array.from(values));
    expect(await file.float32('f64')).toEqual(Float32Array.from(values));
    // The nearest half and bfloat16 of each value, computed by numpy and ml_dtypes.
    expect([...(await file.float32('f16'))]).toEqual([
      0,
      -0,
      1,
      -2.5,
      65504,
      2 ** -24,
      0.333251953125,
      -1.0013580322265625e-5,
    ]);
    expect([...(await file.float32('bf16'))]).toEqual([
      0, -0, 1, -2.5, 65536, 6.007030606269836e-8, 0.333984375, -1.0013580322265625e-5,
    ]);
    expect(await file.float32('scalar')).toEqual(Float32Array.of(3.5));
    expect(await file.float32('empty')).toEqual(new Float32Array(0));
  });

  it('reads every integer type as int32', async () => {
    expect(await file.int32('i32')).toEqual(Int32Array.of(1, -2, 3));
    expect(await file.int32('i64')).toEqual(Int32Array.of(2 ** 31 - 1, -(2 ** 31), 0));
    expect(await file.int32('i16')).toEqual(Int32Array.of(-300, 300));
    expect(await file.int32('i8')).toEqual(Int32Array.of(-1, 127, -128));
    expect(await file.int32('u8')).toEqual(Int32Array.of(0, 255, 7));
    expect(await file.int32('bool')).toEqual(Int32Array.of(1, 0, 1));
  });

  it('says which element does not fit in int32', async () => {
    await expect(file.int32('i64.large')).rejects.toThrow(
      "mixed.safetensors: tensor 'i64.large': element 1 is 2147483648, which does not fit in 32 bits",
    );
  });

  it('refuses to read a dtype as another kind', async () => {
    await expect(file.float32('i32')).rejects.toThrow("tensor 'i32': wanted F32, F16, BF16 or F64, found I32");
    await expect(file.int32('bf16')).rejects.toThrow(
      "tensor 'bf16': wanted I32, I64 or another integer type, found BF16",
    );
  });

  it('names similar tensors when there is none of the name', () => {
    expect(() => file.entry('model.f32')).toThrow(
      "tensor 'model.f32': there is no such tensor; the file has 15, for instance 'f32'",
    );
  });

  it('reads part of a tensor', async () => {
    const whole = await file.bytes('f32');
    expect(await file.bytes('f32', 4, 12)).toEqual(whole.slice(4, 12));
    expect(await file.bytes('f32', 28)).toEqual(whole.slice(28));
    await expect(file.bytes('f32', 4, 33)).rejects.toThrow("'f32' has bytes [0, 32), asked for [4, 33)");
  });

  it('gives arrays that the caller may change', async () => {
    const first = await file.float32('f32');
    first.fill(9);
    (await file.bytes('f32')).fill(9);
    expect(await file.float32('f32')).toEqual(Float32Array.from(values));
  });

  it('reads a large tensor in pieces and nothing else of its source', async () => {
    // 10 M elements of bf16, 20 MB: two pieces.
    const data = new Uint16Array(10_000_000).map((_, i) => i % 0x7f00);
    const bytes = serializeSafetensors({
      big: { dtype: 'BF16', shape: [10_000_000], data },
      other: { dtype: 'F32', shape: [1], data: Float32Array.of(1) },
    });
    const reads: number[] = [];
    const lazy = await openSource({
      size: bytes.length,
      read: async (begin, end) => {
        reads.push(end - begin);
        return bytes.slice(begin, end) as Uint8Array<ArrayBuffer>;
      },
      close: async () => {},
    });
    const floats = await lazy.float32('big');
    expect(reads.slice(2)).toEqual([16 * 1024 * 1024, 20_000_000 - 16 * 1024 * 1024]);
    expect(new Uint32Array(floats.buffer).every((bits, i) => bits === (i % 0x7f00) << 16)).toBe(true);
  });
});
