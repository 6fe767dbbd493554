import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GgufError } from '../errors.js';
import { string } from '../metadata.js';
import { encode } from '../quants/encode.js';
import { openGguf, writeGguf } from './index.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-gguf-'));
});
afterAll(() => rm(root, { recursive: true }));

const values = Float32Array.from({ length: 128 }, (_, i) => i - 64);
const metadata = new Map([['general.architecture', string('llama')]]);
const tensors = new Map([
  ['q', { type: 'Q8_0' as const, shape: [2, 64], data: async () => encode('Q8_0', values) }],
  ['odd', { type: 'F16' as const, shape: [3], data: async () => encode('F16', values.slice(0, 3)) }],
]);

describe('writeGguf()', () => {
  it('writes what openGguf() reads', async () => {
    const path = join(root, 'new', 'a.gguf');
    await writeGguf(path, metadata, tensors);
    const file = await openGguf(path);
    expect(file.metadata.string('general.architecture')).toBe('llama');
    expect(await file.float32('odd')).toEqual(values.slice(0, 3));
    expect((await file.float32('q')).every((value, n) => Math.abs(value - values[n]!) < 0.3)).toBe(true);
    await file.close();
    // The last tensor is padded too, as ggml writes it.
    expect((await readFile(path)).length % 32).toBe(0);
  });

  it('leaves what was there, and nothing else, where anything fails', async () => {
    const path = join(root, 'kept', 'a.gguf');
    await writeGguf(path, metadata, tensors);
    const before = await readFile(path);
    const check = async (temporary: string) => {
      expect(await readFile(temporary)).toEqual(before);
      throw new GgufError('differs');
    };
    await expect(writeGguf(path, metadata, tensors, { check })).rejects.toThrow('differs');
    const short = new Map([['q', { type: 'F32' as const, shape: [2], data: async () => new Uint8Array(4) }]]);
    await expect(writeGguf(path, metadata, short)).rejects.toThrow("tensor 'q': takes 8 bytes, given are 4");
    expect(await readFile(path)).toEqual(before);
    expect(await readdir(join(root, 'kept'))).toEqual(['a.gguf']);
  });

  it('says that the system refuses the place', async () => {
    const place = join(root, 'file');
    await writeFile(place, '');
    await expect(writeGguf(join(place, 'a.gguf'), metadata, tensors)).rejects.toThrow(
      /cannot be written: .*a file that was there before is unchanged/,
    );
    await expect(writeGguf(root, metadata, tensors)).rejects.toThrow(GgufError);
  });
});

describe('openGguf()', () => {
  it('says what is wrong with a path', async () => {
    await expect(openGguf(join(root, 'none.gguf'))).rejects.toThrow('none.gguf: there is no such file; check the path');
    await expect(openGguf(root)).rejects.toThrow('is no file; name the .gguf file itself');
  });
});
