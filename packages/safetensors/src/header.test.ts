import { describe, expect, it } from 'vitest';
import { parseSafetensors, SafetensorsError, serializeSafetensors } from './index.js';

/** A file whose header says `json`, with `dataBytes` zeros as data. */
function fileOf(json: string | Record<string, unknown> | Uint8Array, dataBytes = 0, headerLength?: number): Uint8Array {
  const text =
    json instanceof Uint8Array
      ? json
      : new TextEncoder().encode(typeof json === 'string' ? json : JSON.stringify(json));
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerLength ?? text.length), true);
  file.set(text, 8);
  return file;
}
const tensor = (begin: number, end: number, more: object = {}) => ({
  dtype: 'U8',
  shape: [end - begin],
  data_offsets: [begin, end],
  ...more,
});

describe('parseSafetensors()', () => {
  const good = serializeSafetensors({ a: { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) } });

  it.each<[string, Uint8Array, string]>([
    ['is empty', new Uint8Array(0), "wanted at least 8 bytes (the header's length), found 0"],
    [
      'ends within the header',
      good.subarray(0, 20),
      `the header says it is ${good.length - 16} bytes long, but 12 bytes follow; the file is cut short`,
    ],
    [
      'ends within the data',
      good.subarray(0, good.length - 1),
      "tensor 'a': data_offsets: wanted begin ≤ end ≤ 7 (the file's data bytes), found [0, 8]; the file is cut short or damaged",
    ],
    [
      'says that its header is larger than allowed',
      fileOf('{}', 0, 100_000_001),
      'the header says it is 100000001 bytes long, allowed are 100000000',
    ],
    ['says that its header is larger than 2^53', fileOf('{}', 0, 2 ** 60), 'allowed are 100000000'],
    ['has a header that is no JSON', fileOf('{"a":'), 'the header is no valid UTF-8 JSON'],
    [
      'has a header that is no UTF-8',
      fileOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)),
      'the header is no valid UTF-8 JSON',
    ],
    ...['1.0', '-0', '1e0', '0.0', '10E-1'].map((number): [string, Uint8Array, string] => [
      `writes a whole number as ${number}`,
      fileOf(
        `{"a":{"dtype":"U8","shape":[${number}],"data_offsets":[0,${Math.round(Number(number))}]}}`,
        Math.round(Number(number)),
      ),
      `the header has the number ${number}`,
    ]),
    ['begins with a blank', fileOf(' {}'), "the header must begin with '{'"],
    ['is padded with line ends', fileOf('{}\n\n'), 'padded with other characters than spaces'],
    ['has a header that is an array', fileOf('[]'), 'wanted a JSON object, found []'],
    [
      'names a tensor twice',
      fileOf(
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      ),
      "the header has the key 'a' twice",
    ],
    [
      'gives a shape twice',
      fileOf('{"a":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}}'),
      "the header has the key 'shape' twice",
    ],
    [
      'has overlapping tensors',
      fileOf({ a: tensor(0, 4), b: tensor(3, 6) }, 6),
      "tensor 'b': its bytes start at 3, inside those of 'a', which end at 4; tensors must not overlap",
    ],
    [
      'has two tensors in one place',
      fileOf({ a: tensor(0, 4), b: tensor(0, 4) }, 4),
      "tensor 'b': its bytes start at 0, inside those of 'a'",
    ],
    [
      'has a gap between tensors',
      fileOf({ a: tensor(0, 2), b: tensor(3, 6) }, 6),
      "tensor 'b': 1 bytes before it (from 2) belong to no tensor",
    ],
    [
      'has a gap at the start',
      fileOf({ a: tensor(2, 4) }, 4),
      "tensor 'a': 2 bytes before it (from 0) belong to no tensor",
    ],
    ['has bytes after the last tensor', fileOf({ a: tensor(0, 4) }, 6), '2 bytes after the last tensor belong to none'],
    [
      'has offsets beyond the file',
      fileOf({ a: tensor(0, 9) }, 8),
      "tensor 'a': data_offsets: wanted begin ≤ end ≤ 8 (the file's data bytes), found [0, 9]",
    ],
    ['has offsets the wrong way round', fileOf({ a: tensor(4, 0, { shape: [4] }) }, 8), 'found [4, 0]'],
    [
      'has negative offsets',
      fileOf({ a: tensor(-4, 0) }, 8),
      "tensor 'a': data_offsets: wanted two whole numbers, 0 or more, found [-4,0]",
    ],
    ['has three offsets', fileOf({ a: tensor(0, 8, { data_offsets: [0, 4, 8] }) }, 8), 'found [0,4,8]'],
    [
      'has a shape that does not fit its bytes',
      fileOf({ a: tensor(0, 8, { dtype: 'F32', shape: [3] }) }, 8),
      "tensor 'a': shape [3] of F32 takes 12 bytes, but data_offsets [0, 8] span 8",
    ],
    [
      'has a shape whose product overflows',
      fileOf({ a: tensor(0, 8, { shape: [2 ** 52, 2 ** 52] }) }, 8),
      "tensor 'a': shape [4503599627370496,4503599627370496] of U8 takes",
    ],
    [
      'has a negative dimension',
      fileOf({ a: tensor(0, 8, { shape: [-2, -4] }) }, 8),
      "tensor 'a': shape: wanted an array of whole numbers, 0 or more, found [-2,-4]",
    ],
    ['has a dimension that is no whole number', fileOf({ a: tensor(0, 8, { shape: [2.5] }) }, 8), 'found [2.5]'],
    ['has a dimension that is a string', fileOf({ a: tensor(0, 8, { shape: ['8'] }) }, 8), 'found ["8"]'],
    ['has an unknown dtype', fileOf({ a: tensor(0, 8, { dtype: 'Q4' }) }, 8), 'dtype: wanted one of BOOL, U8'],
    [
      'has a dtype that is a method of objects',
      fileOf({ a: tensor(0, 8, { dtype: 'toString' }) }, 8),
      'found "toString"',
    ],
    [
      'has a tensor that is no object',
      fileOf({ a: 3 }),
      "tensor 'a': wanted an object with dtype, shape and data_offsets, found 3",
    ],
    [
      'has metadata that are no strings',
      fileOf({ __metadata__: { step: 3 } }),
      "__metadata__['step']: wanted a string, found 3",
    ],
    ['has metadata that are no object', fileOf({ __metadata__: 'x' }), '__metadata__: wanted an object, found "x"'],
  ])('refuses a file that %s', (_, bytes, message) => {
    let error: unknown;
    try {
      parseSafetensors(bytes, 'some/file.safetensors');
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(SafetensorsError);
    expect((error as SafetensorsError).message).toContain(message);
    expect((error as SafetensorsError).message).toMatch(/^some\/file\.safetensors: /);
    expect(error).toMatchObject({ code: 'SPFT_SAFETENSORS', file: 'some/file.safetensors' });
  });

  it('takes an empty file, scalars, empty tensors, and names that objects have by themselves', async () => {
    expect(parseSafetensors(fileOf('{}')).names).toEqual([]);
    const file = parseSafetensors(
      fileOf(
        '{"__proto__":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"constructor":{"dtype":"U8","shape":[0,3],"data_offsets":[1,1]}}  ',
        1,
      ),
    );
    expect(file.names).toEqual(['__proto__', 'constructor']);
    expect(file.entry('__proto__').shape).toEqual([]);
    expect(await file.bytes('constructor')).toEqual(new Uint8Array(0));
    expect(file.has('toString')).toBe(false);
  });

  it('orders tensors by their place in the file, not in the header', () => {
    expect(parseSafetensors(fileOf({ b: tensor(4, 8), a: tensor(0, 4) }, 8)).names).toEqual(['a', 'b']);
  });
});
