/** @file Files as llama.cpp's own package writes them (fixtures/make_quants.py), and everything that a file can lie about. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { GgufError } from './errors.js';
import { openGgufSource, parseGguf } from './file.js';
import { bool, float32, float32s, int32s, type MetadataValue, string, strings, uint32 } from './metadata.js';
import { layoutGguf, serializeGguf, type TensorSpec } from './serialize.js';

const mixed = new Uint8Array(readFileSync(new URL('../fixtures/mixed.gguf', import.meta.url)));

describe('parseGguf()', () => {
  it('reads every kind of value', () => {
    const { metadata, version } = parseGguf(mixed);
    expect(version).toBe(3);
    const values = Object.fromEntries([...metadata.entries].map(([key, { value }]) => [key, value]));
    expect(values).toMatchObject({
      ...{ 'general.architecture': 'llama', 'a.uint8': 200, 'a.int8': -100, 'a.uint16': 60000, 'a.int16': -30000 },
      ...{
        'a.uint32': 4000000000,
        'a.int32': -2000000000,
        'a.float32': 0.5,
        'a.uint64': 2n ** 63n,
        'a.int64': -(2n ** 62n),
      },
      ...{ 'a.float64': 0.1, 'a.bool': true, 'a.string': 'ĠHé▁ 🙂\n', 'a.strings': ['a', '', 'ü'] },
      ...{
        'a.numbers': Int32Array.of(1, -2, 3),
        'a.floats': Float32Array.of(0.5, 0.25),
        'a.flags': Uint8Array.of(1, 0),
      },
    });
    expect((values['a.nested'] as MetadataValue[]).map(({ value }) => value)).toEqual([
      Int32Array.of(1, 2),
      Int32Array.of(3),
    ]);
  });

  it('reads tensors of every type, row-major', async () => {
    const file = parseGguf(mixed);
    expect(file.names).toEqual(['f32.weight', 'f16.weight', 'bf16.weight', 'q8.weight', 'q4.weight', 'norm.weight']);
    expect(file.entry('q4.weight')).toMatchObject({ type: 'Q4_0', shape: [3, 64] });
    const exact = await file.float32('f32.weight');
    for (const [name, step] of [
      ['f16.weight', 1e-2],
      ['bf16.weight', 0.1],
      ['q8.weight', 0.1],
      ['q4.weight', 3],
    ] as const) {
      const values = await file.float32(name);
      expect(
        values.every((value, n) => Math.abs(value - exact[n]!) <= step),
        name,
      ).toBe(true);
    }
    expect(await file.float32('norm.weight')).toEqual(exact.slice(0, 5));
    expect(await file.bytes('q8.weight', 34, 36)).toEqual((await file.bytes('q8.weight')).slice(34, 36));
    await expect(file.bytes('q8.weight', 0, 1e6)).rejects.toThrow(RangeError);
    await expect(file.float32('none')).rejects.toThrow(
      "tensor 'none': there is no such tensor; the file has 6, for instance 'f32.weight'",
    );
  });

  it('reads a file at any offset of a buffer', async () => {
    const shifted = new Uint8Array([1, 2, 3, ...mixed]).subarray(3);
    expect(await parseGguf(shifted).float32('q8.weight')).toEqual(await parseGguf(mixed).float32('q8.weight'));
  });
});

/** A file of one tensor with these metadata. */
const small = (metadata: [string, MetadataValue][] = [], spec: Partial<TensorSpec> = {}) => {
  const tensor = { type: 'F32' as const, shape: [2, 3], ...spec };
  const { places } = layoutGguf(new Map(), new Map([['w', tensor]]));
  return serializeGguf(
    new Map(metadata),
    new Map([['w', { ...tensor, data: new Uint8Array(places.get('w')!.bytes) }]]),
  );
};

describe('serializeGguf()', () => {
  it('writes what is read again, and byte for byte what was read', () => {
    const file = parseGguf(mixed);
    const tensors = new Map(
      file.names.map((name) => {
        const { type, shape, begin, end } = file.entry(name);
        return [name, { type, shape, data: mixed.slice(begin, end) }];
      }),
    );
    expect(serializeGguf(file.metadata.entries, tensors)).toEqual(mixed);
  });

  it('refuses what would be no valid file', () => {
    expect(() => small([], { type: 'Q8_0', shape: [2, 33] })).toThrow("tensor 'w': [2,33] cannot be written in Q8_0");
    expect(() => small([['general.alignment', uint32(64)]])).toThrow(
      'general.alignment: files are written with the alignment 32',
    );
    const data = new Uint8Array(3);
    expect(() => serializeGguf(new Map(), new Map([['w', { type: 'F32', shape: [1], data }]]))).toThrow(
      "'w': takes 4 bytes, given are 3",
    );
  });
});

describe('Metadata', () => {
  it('gives values of the wanted type, and says what it found instead', () => {
    const { metadata } = parseGguf(
      small([
        ['heads', int32s(Int32Array.of(8, 8, 8))],
        ['mixed', int32s(Int32Array.of(8, 4))],
        ['scores', float32s(Float32Array.of(1.5))],
        ['name', string('x')],
        ['rate', float32(0.1)],
        ['flag', bool(false)],
        ['tokens', strings(['a'])],
        ['count', { type: 'uint64', value: 7n }],
        ['huge', { type: 'uint64', value: 2n ** 60n }],
      ]),
      'a.gguf',
    );
    expect([metadata.count('heads'), metadata.count('count'), metadata.count('absent')]).toEqual([8, 7, undefined]);
    expect([metadata.number('rate'), metadata.boolean('flag'), metadata.string('name')]).toEqual([
      Math.fround(0.1),
      false,
      'x',
    ]);
    expect(metadata.numbers('scores')).toEqual(Float32Array.of(1.5));
    expect(() => metadata.count('mixed')).toThrow(
      'a.gguf: mixed: wanted a whole number, 0 or more, found an array of 2 int32',
    );
    expect(() => metadata.count('rate')).toThrow(GgufError);
    expect(() => metadata.count('huge')).toThrow('found uint64 1152921504606846976');
    expect(() => metadata.string('flag')).toThrow('flag: wanted a string, found bool false');
    expect(() => metadata.strings('scores')).toThrow('wanted a list of strings, found an array of 1 float32');
  });
});

/** `bytes` with a little-endian number of so many bytes at a place. */
function patched(bytes: Uint8Array, at: number, value: number | bigint, width: 4 | 8 = 8): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  if (width === 8) view.setBigUint64(at, BigInt(value), true);
  else view.setUint32(at, Number(value), true);
  return copy;
}

/** Where `text` ends in the file. */
const after = (bytes: Uint8Array, text: string) => Buffer.from(bytes).indexOf(text, 24, 'latin1') + text.length;

describe('a file that lies', () => {
  const plain = small([['list', int32s(Int32Array.of(1, 2))]]);
  const list = after(plain, 'list');
  // Behind the tensor's name: dimensions, two sizes, type, offset.
  const info = after(plain, '\u0001\0\0\0\0\0\0\0w');
  const huge = 2n ** 62n;

  it.each<[string, Uint8Array, string]>([
    ['is empty', new Uint8Array(), 'wanted at least 24 bytes, found 0'],
    ['is no GGUF file', new Uint8Array(100).fill(65), 'begins with "AAAA" instead of "GGUF"'],
    ['is of an old format', new Uint8Array([...Buffer.from('ggjt'), ...new Uint8Array(40)]), 'one of its forerunners'],
    ['is of another version', patched(plain, 4, 1, 4), 'is of version 1, wanted 2 or 3'],
    ['is big-endian', patched(plain, 4, 0x03000000, 4), 'is big-endian'],
    ['says it has more tensors than fit', patched(plain, 8, huge), `says it has ${huge} tensors, for which`],
    ['says it has more keys than fit', patched(plain, 16, huge), `says it has ${huge} metadata keys, for which`],
    [
      'says a key is longer than the file',
      patched(plain, 24, 60000),
      'the head goes on to byte 60032 at least, the file has',
    ],
    ['says a key is longer than any', patched(plain, 24, 65536), 'is 65536 bytes long, allowed are 65535'],
    [
      'says an array is longer than the file',
      patched(plain, list + 8, huge),
      `list: says it has ${huge} elements of int32`,
    ],
    ['has an unknown type of value', patched(plain, list, 77, 4), 'list: has a value of the unknown type 77'],
    ['has arrays in arrays without end', patched(plain, list + 4, 9, 4), 'list: '],
    ['has more dimensions than four', patched(plain, info, 5, 4), "tensor 'w': has 5 dimensions, allowed are 4"],
    [
      'has a size beyond all files',
      patched(plain, info + 4, 2n ** 63n),
      "tensor 'w': has the size or offset 9223372036854775808",
    ],
    [
      'has a shape that the file cannot hold',
      patched(plain, info + 4, 2n ** 52n),
      "tensor 'w': is [2,4503599627370496] in F32",
    ],
    ['has an unknown element type', patched(plain, info + 20, 99, 4), "tensor 'w': has the unknown element type 99"],
    [
      'has rows that are no whole blocks',
      patched(plain, info + 20, 8, 4),
      "tensor 'w': has rows of 3 elements in Q8_0, whose blocks have 32",
    ],
    ['has data elsewhere', patched(plain, info + 24, 32), "tensor 'w': its data begin at 32, wanted 0"],
    ['is cut short in its data', plain.slice(0, plain.length - 16), "tensor 'w': its data end at byte"],
    ['is cut short in its head', plain.slice(0, 70), 'the head goes on to byte'],
  ])('that %s is refused', (_, bytes, message) => {
    expect(() => parseGguf(bytes, 'a.gguf')).toThrow(GgufError);
    expect(() => parseGguf(bytes, 'a.gguf')).toThrow(message);
    expect(() => parseGguf(bytes, 'a.gguf')).toThrow(/^a\.gguf: /);
  });

  it('refuses names twice, strings that are no UTF-8, bools that are none, and alignments that are no power of two', () => {
    const twice = small([
      ['aa', bool(true)],
      ['bb', string('xx')],
    ]);
    const same = twice.slice();
    same.set(Buffer.from('aa'), after(twice, 'bb') - 2);
    expect(() => parseGguf(same)).toThrow('aa: is there twice');
    const broken = twice.slice();
    broken[after(twice, 'xx') - 1] = 0xff;
    expect(() => parseGguf(broken)).toThrow('bb: a string is no valid UTF-8');
    const odd = twice.slice();
    odd[after(twice, 'aa') + 4] = 7;
    expect(() => parseGguf(odd)).toThrow('aa: wanted 0 or 1 for a bool, found 7');
    const key = small([['general.alignmenT', uint32(48)]]);
    key[after(key, 'general.alignmen')] = 't'.charCodeAt(0);
    expect(() => parseGguf(key)).toThrow(
      'general.alignment: wanted a power of two up to 1048576 as uint32, found uint32 48',
    );
  });

  it('is refused or read wherever a byte is changed or the file is cut: no hang, no large allocation, no other error', () => {
    let state = 1;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const head = parseGguf(mixed).entry('f32.weight').begin;
    for (let n = 0; n < 4000; n++) {
      const bytes = mixed.slice(0, n % 4 === 0 ? random(mixed.length) : mixed.length);
      for (let change = random(4); change >= 0; change--)
        bytes[random(Math.min(head, bytes.length))] = [0, 255, 128, random(256)][random(4)]!;
      try {
        parseGguf(bytes);
      } catch (error) {
        expect(error, `run ${n}`).toBeInstanceOf(GgufError);
      }
    }
  });
});

describe('openGgufSource()', () => {
  /** A source that says how much of it was read at most at a time. */
  function source(bytes: Uint8Array) {
    const read: [number, number][] = [];
    return {
      read,
      open: () =>
        openGgufSource({
          name: 'big.gguf',
          size: bytes.length,
          read: async (begin, end) => {
            read.push([begin, end]);
            return bytes.slice(begin, end);
          },
          close: async () => {},
        }),
    };
  }

  it('reads a long head in few pieces, and of tensors what is asked for', async () => {
    const tokens = Array.from({ length: 300_000 }, (_, n) => `token ${n}`);
    const bytes = small([['tokens', strings(tokens)]]);
    const { open, read } = source(bytes);
    const file = await open();
    expect(file.metadata.strings('tokens')).toEqual(tokens);
    expect(read.map(([, end]) => end)).toEqual([2 ** 20, 2 ** 22, bytes.length]);
    await file.bytes('w', 4, 8);
    const { begin } = file.entry('w');
    expect(read.at(-1)).toEqual([begin + 4, begin + 8]);
  });

  it('says that a source gives less than it has', async () => {
    const short = openGgufSource({ size: 1000, read: async () => new Uint8Array(3), close: async () => {} });
    await expect(short).rejects.toThrow('wanted bytes [0, 1000), the source gave 3; is the file complete?');
  });
});
