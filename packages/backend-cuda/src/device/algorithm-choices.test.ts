/** @file Choices of algorithms, and files of the cache, of several processes at once: no GPU is needed. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AlgorithmChoices } from './algorithm-choices.js';
import { readCached, writeCached } from './cache-files.js';
import type { Device } from './device.js';

const device = { info: { name: 'NVIDIA H200', driver: '13.0' } } as Device;

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spft-cache-'));
  vi.stubEnv('SPFT_CUDA_CACHE', folder);
  vi.stubEnv('SPFT_CUDA_TUNE', '1');
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const NONE = () => {
  throw new Error('it was measured again');
};

describe('AlgorithmChoices', () => {
  const choices = (version = '12.8.4') => new AlgorithmChoices(device, version);

  it('takes the fastest by its best turn, and a later one only when it is clearly faster', () => {
    const turns = [
      [3.5, 3, 3.8],
      [4, 3.2, 2.8],
      [6, 8, 2.5],
    ];
    const asked: number[] = [];
    expect(
      choices().of(
        'a',
        ['x', 'y', 'z'],
        (place) => turns[asked.push(place) && Math.floor((asked.length - 1) / 3)]![place]!,
      ),
    ).toBe(2);
    expect(asked).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2]);
    expect(choices().of('b', ['x', 'y'], (place) => [1, 0.995][place]!)).toBe(0);
  });

  it('measures what is far behind the fastest no second time', () => {
    const calls = [0, 0, 0, 0];
    const time = (place: number) => [2.7, 2, 2.5, 9][place]! - (calls[place]!++ === 1 ? 0.8 : 0);
    // In the second turn x takes 1.2 and y 1.7.
    expect(choices().of('a', ['w', 'x', 'y', 'z'], time)).toBe(1);
    expect(calls).toEqual([1, 3, 2, 1]);
  });

  it.each([0, 1, 2])('never takes one that failed in turn %i, and does not try it again', (turn) => {
    const calls = [0, 0];
    const time = (place: number) => (calls[place]!++ === turn && place === 1 ? Number.POSITIVE_INFINITY : 10 - place);
    expect(choices().of('a', ['slow', 'fails'], time)).toBe(0);
    expect(calls).toEqual([3, turn + 1]);
  });

  it('keeps no choice where all fail', () => {
    expect(choices().of('a', ['x', 'y'], () => Number.POSITIVE_INFINITY)).toBe(0);
    expect(choices().of('a', ['x', 'y'], (place) => 2 - place)).toBe(1);
  });

  it('finds an algorithm again at another place, and for another product only where it is proposed', () => {
    choices().of('a', ['x', 'y'], (place) => 2 - place);
    expect(choices().of('a', ['z', 'x', 'y'], NONE)).toBe(2);
    expect(choices().known('a', ['z', 'y'])).toBe(1);
    expect(choices().known('a', ['z', 'x'])).toBeUndefined();
  });

  it('takes what another process has chosen meanwhile', () => {
    const [mine, theirs] = [choices(), choices()];
    theirs.of('a', ['x', 'y'], (place) => 2 - place);
    expect(mine.of('a', ['x', 'y'], NONE)).toBe(1);
    mine.of('b', ['x', 'y'], (place) => 2 - place);
    expect(choices().of('b', ['x', 'y'], NONE)).toBe(1);
    expect(choices().of('a', ['x', 'y'], NONE)).toBe(1);
  });

  it('knows nothing of another GPU or another version of cuBLASLt', () => {
    choices().of('a', ['x', 'y'], (place) => 2 - place);
    expect(choices('12.9.0').known('a', ['x', 'y'])).toBeUndefined();
    const other = { info: { name: 'NVIDIA A100', driver: '13.0' } } as Device;
    expect(new AlgorithmChoices(other, '12.8.4').known('a', ['x', 'y'])).toBeUndefined();
  });

  it('takes the first always with SPFT_CUDA_TUNE=0, and writes nothing', () => {
    vi.stubEnv('SPFT_CUDA_TUNE', '0');
    expect(choices().of('a', ['x', 'y'], NONE)).toBe(0);
    choices().choose('a', 'y');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('files of the cache', () => {
  it('are what was written, or nothing', () => {
    const path = join(folder, 'below', 'x.cubin');
    expect(readCached(path)).toBeNull();
    const contents = Buffer.from('an image of some bytes');
    writeCached(path, contents);
    expect(readCached(path)).toEqual(contents);
    const whole = readFileSync(path);
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      expect(readCached(path)).toBeNull();
    }
    for (let at = 0; at < whole.length; at++) {
      const changed = Buffer.from(whole);
      changed[at]! ^= 1;
      writeFileSync(path, changed);
      expect(readCached(path)).toBeNull();
    }
    writeFileSync(path, contents);
    expect(readCached(path)).toBeNull();
    writeCached(path, contents);
    expect(readCached(path)).toEqual(contents);
    expect(readdirSync(join(folder, 'below'))).toEqual(['x.cubin']);
  });

  it('that cannot be written leave nothing, and are done without', () => {
    mkdirSync(join(folder, 'taken', 'x'), { recursive: true });
    writeCached(join(folder, 'taken'), Buffer.from('x'));
    expect(readdirSync(folder)).toEqual(['taken']);
    writeFileSync(join(folder, 'file'), '');
    writeCached(join(folder, 'file', 'x'), Buffer.from('x'));
    expect(existsSync(join(folder, 'file', 'x'))).toBe(false);
  });

  it('are whole at every moment, however many processes write and read them', { timeout: 120_000 }, async () => {
    const path = join(folder, 'shared');
    // The module itself, without its types, in processes of their own.
    const source = readFileSync(join(import.meta.dirname, 'cache-files.ts'), 'utf8');
    const { transform } = await import('esbuild');
    const module = join(folder, 'cache-files.mjs');
    writeFileSync(module, (await transform(source, { loader: 'ts', format: 'esm' })).code);
    const script = `
      const { readCached, writeCached } = await import(${JSON.stringify(module)});
      let read = 0;
      for (let n = 0; n < 200; n++) {
        writeCached(${JSON.stringify(path)}, Buffer.alloc(3000 + 7 * n, process.pid % 251));
        const found = readCached(${JSON.stringify(path)});
        if (found === null || new Set(found).size !== 1) process.exit(1);
        read++;
      }
      console.log(read);`;
    const runs = Array.from(
      { length: 4 },
      () =>
        new Promise<string>((resolve, reject) => {
          execFile(process.execPath, ['--input-type=module', '-e', script], (error, stdout) =>
            error ? reject(error) : resolve(stdout.trim()),
          );
        }),
    );
    expect(await Promise.all(runs)).toEqual(['200', '200', '200', '200']);
    expect(readdirSync(folder).sort()).toEqual(['cache-files.mjs', 'shared']);
  });
});
