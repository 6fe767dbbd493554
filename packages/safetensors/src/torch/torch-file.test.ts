import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { SafetensorsError } from '../errors.js';
import type { SafetensorsFile } from '../file.js';
import { openSafetensors, openTorchFile } from '../node/index.js';
import { BARE_TENSOR, openTorchSource } from './torch-file.js';
import { crc32 } from './zip-entries.js';

const fixtures = fileURLToPath(new URL('../../fixtures/torch/', import.meta.url));
const fixture = async (name: string) => new Uint8Array(await readFile(join(fixtures, name)));

const openBytes = (bytes: Uint8Array): Promise<SafetensorsFile> =>
  openTorchSource({
    name: 'x.pt',
    size: bytes.length,
    read: async (begin, end) => {
      // What a source promises: never more than there is.
      if (!(begin >= 0 && begin <= end && end <= bytes.length)) throw new Error(`asked for [${begin}, ${end})`);
      return bytes.slice(begin, end);
    },
    close: async () => {},
  });

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => expect.unreachable('was accepted'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(SafetensorsError);
      return (error as Error).message;
    },
  ) as Promise<string>;

/** An archive of stored entries as torch.save writes it. */
function archive(
  entries: Readonly<Record<string, Uint8Array | string>>,
  change: (bytes: Uint8Array) => void = () => {},
) {
  const text = new TextEncoder();
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [name, content] of Object.entries(entries)) {
    const [key, data] = [text.encode(name), typeof content === 'string' ? text.encode(content) : content];
    const local = new DataView(new ArrayBuffer(30));
    local.setUint32(0, 0x04034b50, true);
    local.setUint32(14, crc32(data), true);
    local.setUint32(18, data.length, true);
    local.setUint32(22, data.length, true);
    local.setUint16(26, key.length, true);
    const central = new DataView(new ArrayBuffer(46));
    central.setUint32(0, 0x02014b50, true);
    central.setUint32(16, crc32(data), true);
    central.setUint32(20, data.length, true);
    central.setUint32(24, data.length, true);
    central.setUint16(28, key.length, true);
    central.setUint32(42, at, true);
    parts.push(new Uint8Array(local.buffer), key, data);
    directory.push(new Uint8Array(central.buffer), key);
    at += 30 + key.length + data.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, directory.length / 2, true);
  end.setUint16(10, directory.length / 2, true);
  end.setUint32(12, size, true);
  end.setUint32(16, at, true);
  const bytes = Uint8Array.from([...parts, ...directory, new Uint8Array(end.buffer)].flatMap((part) => [...part]));
  change(bytes);
  return bytes;
}

const ascii = (text: string) => [...text].map((character) => character.charCodeAt(0));
const global = (module: string, name: string) => [0x63, ...ascii(`${module}\n${name}\n`)];
const unicode = (text: string) => [0x58, text.length, 0, 0, 0, ...ascii(text)];
const int = (value: number) => {
  const bytes = new DataView(new ArrayBuffer(4));
  bytes.setInt32(0, value, true);
  return [0x4a, ...new Uint8Array(bytes.buffer)];
};
const tuple = (...items: number[][]) => [0x28, ...items.flat(), 0x74];
const storage = (elements: number, key = '0', type = 'FloatStorage') => [
  ...tuple(unicode('storage'), global('torch', type), unicode(key), unicode('cpu'), int(elements)),
  0x51,
];
const tensor = (elements: number, shape: number[], strides: number[], offset = 0) => [
  ...global('torch._utils', '_rebuild_tensor_v2'),
  ...tuple(storage(elements), int(offset), tuple(...shape.map(int)), tuple(...strides.map(int)), [0x89]),
  0x52,
];
const pickle = (...bytes: number[][]) => Uint8Array.from([0x80, 2, ...bytes.flat(), 0x2e]);
const saved = (value: number[], floats = 4) =>
  archive({ 'a/data.pkl': pickle(value), 'a/byteorder': 'little', 'a/data/0': new Uint8Array(4 * floats) });

describe('openTorchFile()', () => {
  it('gives the tensors of a dict as safetensors has them: parts of storages, parameters, scalars, empty ones', async () => {
    const [ours, theirs] = await Promise.all([
      openTorchFile(join(fixtures, 'dict.pt')),
      openSafetensors(join(fixtures, 'dict.safetensors')),
    ]);
    expect([...ours.names].sort()).toEqual([...theirs.names].sort());
    for (const name of theirs.names) {
      expect(ours.entry(name)).toMatchObject({ dtype: theirs.entry(name).dtype, shape: theirs.entry(name).shape });
      expect(await ours.float32(name), name).toEqual(await theirs.float32(name));
      expect(await ours.bytes(name), name).toEqual(await theirs.bytes(name));
    }
    await Promise.all([ours.close(), theirs.close()]);
  });

  it.each(['bare.pt', 'protocol4.pt'])('gives a bare tensor a name of its own: %s', async (name) => {
    const [ours, theirs] = [
      await openTorchFile(join(fixtures, name)),
      await openSafetensors(join(fixtures, 'dict.safetensors')),
    ];
    expect(ours.names).toEqual([BARE_TENSOR]);
    expect(await ours.float32(BARE_TENSOR)).toEqual(await theirs.float32('half'));
    await Promise.all([ours.close(), theirs.close()]);
  });

  it('reads a state_dict, which carries versions beside its tensors', async () => {
    expect((await openBytes(await fixture('state_dict.pt'))).names).toEqual(['weight']);
  });

  it.each([
    ['attack.pt', "it names 'posix.system', which is no tensor's"],
    ['module.pt', "it names 'torch.nn.modules.linear.Linear'"],
    ['legacy.pt', 'no archive as torch.save writes it since PyTorch 1.6'],
    ['transposed.pt', 'a view with gaps (shape [4,3], strides [1,4])'],
    ['number.pt', "found something else under 'step'"],
    ['integers.pt', "it names 'torch.LongStorage'"],
  ])('refuses %s and says how to convert it', async (name, message) => {
    const said = await failure(openTorchFile(join(fixtures, name)));
    expect(said).toContain(message);
    expect(said).toContain(join(fixtures, name));
    expect(said).toContain('weights_only=True');
    expect(existsSync('/tmp/spft-was-here')).toBe(false);
  });

  it('closes what it refuses, and says what is no file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'spft-torch-'));
    await expect(openTorchFile(directory)).rejects.toThrow('name the .pt file itself');
    await expect(openTorchFile(join(directory, 'none.pt'))).rejects.toThrow('there is no such file');
    await writeFile(join(directory, 'empty.pt'), '');
    await expect(openTorchFile(join(directory, 'empty.pt'))).rejects.toThrow('is no archive');
    await rm(directory, { recursive: true });
  });
});

describe('openTorchSource()', () => {
  it('refuses a file cut short at any byte', async () => {
    const whole = await fixture('dict.pt');
    for (let length = 0; length < whole.length; length++) await failure(openBytes(whole.subarray(0, length)));
  });

  it('survives any changed byte: the tensors are as declared, or a SafetensorsError', async () => {
    const whole = await fixture('dict.pt');
    let state = 9;
    for (let n = 0; n < whole.length; n++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const changed = whole.slice();
      changed[n] = changed[n]! ^ (1 + ((state >>> 24) % 255));
      try {
        const file = await openBytes(changed);
        for (const name of file.names) await file.float32(name);
      } catch (error) {
        expect(error).toBeInstanceOf(SafetensorsError);
      }
    }
  });

  it('reads what it is made to read here', async () => {
    const file = await openBytes(saved(tensor(4, [2, 2], [2, 1])));
    expect(file.entry(BARE_TENSOR)).toMatchObject({ dtype: 'F32', shape: [2, 2] });
  });

  it.each<readonly [string, number[], string]>([
    ['more elements than its storage', tensor(4, [1_000_000_000], [1]), "more than its storage's 4 elements"],
    ['a row said a thousand million times', tensor(4, [1_000_000_000, 4], [0, 1]), 'a view with gaps'],
    ['a shape whose product is no number', tensor(4, Array(200).fill(2 ** 30), Array(200).fill(1)), 'a view with gaps'],
    ['an offset beyond its storage', tensor(4, [2], [1], 3), 'from element 3 on'],
    ['a negative size', tensor(4, [-2], [1]), 'with other arguments than torch.save does'],
    [
      'a storage that is said to be larger than it is',
      tensor(400, [400], [1]),
      'should have 400 elements of 4 bytes, found 16 bytes',
    ],
    [
      'a storage that is not there',
      [
        ...global('torch._utils', '_rebuild_tensor_v2'),
        ...tuple(storage(4, '../1'), int(0), tuple(int(2)), tuple(int(1))),
        0x52,
      ],
      "its storage '../1' is not in the file",
    ],
    [
      'a call of what it may not name',
      [...global('builtins', 'eval'), ...tuple(unicode('1')), 0x52],
      "it names 'builtins.eval'",
    ],
    ['a name by the stack', [...unicode('os'), ...unicode('system'), 0x93], "it names 'os.system'"],
    [
      'a storage class called',
      [...global('torch', 'FloatStorage'), ...tuple(int(1_000_000_000)), 0x52],
      "it calls 'torch.FloatStorage' with other arguments",
    ],
    ['an instance', [0x28, ...global('collections', 'OrderedDict'), 0x6f], 'it has the opcode 0x6f'],
    ['an extension', [0x82, 1], 'it has the opcode 0x82'],
    [
      'attributes',
      [0x7d, 0x7d, ...unicode('__class__'), ...int(1), 0x73, 0x62],
      'it sets attributes of what it builds',
    ],
    ['no more than a mark', [0x28], 'takes a value where there is none'],
    ['a memory that was never filled', [0x68, 3], 'it takes from its memory'],
    ['a text of four thousand million bytes', [0x58, 0xff, 0xff, 0xff, 0xff, 0x61], 'it is cut short'],
    ['itself', [0x5d, 0x71, 0, 0x68, 0, 0x61], 'a tensor or a dict of tensors in it, found neither'],
  ])('refuses %s', async (_, value, message) => {
    expect(await failure(openBytes(saved(value)))).toContain(message);
  });

  it('does not multiply what is said once: lists of lists of one list', async () => {
    // Forty levels of ten references each to the level before: 10 to the 40th leaves, were they written out.
    const levels = Array.from({ length: 40 }, (_, n) => [
      // EMPTY_LIST, BINPUT n + 1, then ten times: BINGET n, APPEND.
      ...[0x5d, 0x71, n + 1],
      ...Array.from({ length: 10 }, () => (n === 0 ? [0x4e, 0x61] : [0x68, n, 0x61])).flat(),
    ]);
    await failure(openBytes(saved([...levels.flat()])));
  });

  it('refuses archives that contradict themselves', async () => {
    const good = { 'a/data.pkl': pickle(tensor(1, [1], [1])), 'a/byteorder': 'little', 'a/data/0': new Uint8Array(4) };
    const view = (bytes: Uint8Array) => new DataView(bytes.buffer);
    const central = (bytes: Uint8Array) => view(bytes).getUint32(bytes.length - 6, true);
    const changed: readonly (readonly [string, (bytes: Uint8Array) => void])[] = [
      ['is compressed', (bytes) => view(bytes).setUint16(central(bytes) + 10, 8, true)],
      ['is encrypted', (bytes) => view(bytes).setUint16(central(bytes) + 8, 1, true)],
      ['does not fit', (bytes) => view(bytes).setUint16(bytes.length - 12, 60_000, true)],
      ['does not fit', (bytes) => view(bytes).setUint32(bytes.length - 10, 2 ** 31, true)],
      ['another checksum', (bytes) => view(bytes).setUint32(central(bytes) + 16, 7, true)],
      ['is not where its directory says', (bytes) => view(bytes).setUint32(central(bytes) + 42, 3, true)],
      ['lacks its 64-bit sizes', (bytes) => view(bytes).setUint32(central(bytes) + 42, 0xffffffff, true)],
    ];
    await openBytes(archive(good));
    for (const [message, change] of changed) expect(await failure(openBytes(archive(good, change)))).toContain(message);
    expect(await failure(openBytes(archive({ ...good, 'a/byteorder': 'big' })))).toContain("byte order is 'big'");
    expect(await failure(openBytes(archive({ ...good, 'b/data.pkl': 'x' })))).toContain("wanted one 'data.pkl' in it");
    expect(await failure(openBytes(archive({ 'a/other': 'x' })))).toContain('found none');
  });
});
