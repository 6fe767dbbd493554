import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseSafetensors, serializeSafetensors, type TensorToWrite } from './index.js';

/** Reads a file and writes the same again. */
async function rewritten(bytes: Uint8Array): Promise<Uint8Array> {
  const file = parseSafetensors(bytes);
  const tensors: Record<string, TensorToWrite> = {};
  // In reverse, so that the order comes from the writer.
  for (const name of [...file.names].reverse()) {
    tensors[name] = { ...file.entry(name), data: await file.bytes(name) };
  }
  return serializeSafetensors(tensors, file.metadata);
}
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

describe('serializeSafetensors()', () => {
  it('writes byte for byte what the Python library wrote', async () => {
    const bytes = new Uint8Array(readFileSync(new URL('../fixtures/mixed.safetensors', import.meta.url)));
    expect(same(await rewritten(bytes), bytes)).toBe(true);
  });

  const shared = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));
  const golden = (() => {
    try {
      return readdirSync(`${shared}/golden/seed0`, { recursive: true, encoding: 'utf8' })
        .filter((f) => f.endsWith('.safetensors'))
        .map((f) => `${shared}/golden/seed0/${f}`);
    } catch {
      return [];
    }
  })();
  it.skipIf(golden.length === 0)(
    `writes every golden file again byte for byte${golden.length === 0 ? ' (skipped: no golden values in ../shared)' : ''}`,
    async () => {
      for (const path of golden) {
        const bytes = new Uint8Array(readFileSync(path));
        expect(same(await rewritten(bytes), bytes), path).toBe(true);
      }
    },
  );

  it('takes typed arrays of the dtype, views of larger buffers, and float32 for half precision', async () => {
    const floats = Float32Array.of(0, 1, -2.5, 1e-3, 7).subarray(1, 4);
    const file = parseSafetensors(
      serializeSafetensors({
        bf16: { dtype: 'BF16', shape: [3], data: floats },
        f16: { dtype: 'F16', shape: [3, 1], data: floats },
        f32: { dtype: 'F32', shape: [1, 3], data: floats },
        f64: { dtype: 'F64', shape: [], data: Float64Array.of(0.1) },
        i64: { dtype: 'I64', shape: [1], data: BigInt64Array.of(-5n) },
      }),
    );
    expect(await file.float32('f32')).toEqual(floats);
    expect([...(await file.float32('bf16'))]).toEqual([1, -2.5, 0.00099945068359375]);
    expect([...(await file.float32('f16'))]).toEqual([1, -2.5, 0.0010004043579101562]);
    expect(await file.int32('i64')).toEqual(Int32Array.of(-5));
    expect(file.metadata).toEqual({});
  });

  it('keeps names that look like numbers in order and aligns the data to 8 bytes', () => {
    const bytes = serializeSafetensors({
      10: { dtype: 'F32', shape: [1], data: Float32Array.of(1) },
      9: { dtype: 'F64', shape: [1], data: Float64Array.of(1) },
    });
    expect(parseSafetensors(bytes).names).toEqual(['9', '10']);
    expect(new DataView(bytes.buffer).getUint32(0, true) % 8).toBe(0);
  });

  it.each<[string, TensorToWrite, string]>([
    [
      'of another length',
      { dtype: 'F32', shape: [3], data: new Float32Array(2) },
      "tensor 'x': shape [3] of F32 takes 12 bytes, found 8",
    ],
    [
      'of another type',
      { dtype: 'F32', shape: [2], data: new Int32Array(2) },
      "tensor 'x': data of F32: wanted Uint8Array (raw bytes) or Float32Array, found Int32Array",
    ],
    [
      'of an unknown dtype',
      { dtype: 'F31' as 'F32', shape: [2], data: new Float32Array(2) },
      "tensor 'x': dtype: wanted one of BOOL",
    ],
    [
      'of a negative shape',
      { dtype: 'F32', shape: [-2], data: new Float32Array(2) },
      "tensor 'x': shape: wanted whole numbers, 0 or more, found [-2]",
    ],
  ])('refuses data %s', (_, x, message) => {
    expect(() => serializeSafetensors({ x })).toThrow(message);
  });

  it('refuses metadata that are no strings and the reserved name', () => {
    expect(() => serializeSafetensors({}, { n: 3 as unknown as string })).toThrow(
      "metadata 'n': wanted a string, found 3",
    );
    expect(() => serializeSafetensors({ __metadata__: { dtype: 'U8', shape: [0], data: new Uint8Array(0) } })).toThrow(
      'the name is reserved',
    );
  });
});
