import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SafetensorsError, serializeSafetensors } from '../index.js';
import {
  openSafetensors,
  openSafetensorsModel,
  type TensorsToWrite,
  writeFileAtomically,
  writeSafetensors,
  writeSafetensorsModel,
} from './index.js';

let root: string;
let count = 0;
const fresh = () => join(root, String(count++));
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-safetensors-'));
});
afterAll(() => rm(root, { recursive: true }));

const tensors: TensorsToWrite = Object.fromEntries(
  ['a', 'b', 'c'].map((name, i) => [name, { dtype: 'F32', shape: [2, 2], data: new Float32Array(4).fill(i) }]),
);

describe('writeSafetensors()', () => {
  it('writes what serializeSafetensors gives, making tensors when their turn comes', async () => {
    const path = join(fresh(), 'deep', 'x.safetensors');
    const order: string[] = [];
    const data = (name: string, value: number) => async () => {
      order.push(name);
      return Float32Array.of(value);
    };
    await writeSafetensors(path, {
      b: { dtype: 'F32', shape: [1], data: data('b', 2) },
      a: { dtype: 'F32', shape: [1], data: data('a', 1) },
    });
    expect(order).toEqual(['a', 'b']);
    const whole = serializeSafetensors({
      a: { dtype: 'F32', shape: [1], data: Float32Array.of(1) },
      b: { dtype: 'F32', shape: [1], data: Float32Array.of(2) },
    });
    expect(new Uint8Array(await readFile(path))).toEqual(whole);
  });

  it('leaves the old file, and nothing beside it, when a tensor fails', async () => {
    const dir = fresh();
    const path = join(dir, 'x.safetensors');
    await writeSafetensors(path, tensors);
    const before = await readFile(path);
    await expect(
      writeSafetensors(path, { ...tensors, d: { dtype: 'F32', shape: [3], data: () => new Float32Array(1) } }),
    ).rejects.toThrow(`${path}: tensor 'd': shape [3] of F32 takes 12 bytes, found 4`);
    expect(await readFile(path)).toEqual(before);
    expect(await readdir(dir)).toEqual(['x.safetensors']);
  });

  it('says that the disk is full', async () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const dir = fresh();
    const writing = writeSafetensors(join(dir, 'x.safetensors'), {
      a: {
        dtype: 'F32',
        shape: [1],
        data: () => {
          throw full;
        },
      },
    });
    await expect(writing).rejects.toThrow(/needs \d+ bytes, and the disk is full: make room.*unchanged/);
    await expect(writing).rejects.toBeInstanceOf(SafetensorsError);
    expect(await readdir(dir)).toEqual([]);
  });
});

describe('writeFileAtomically()', () => {
  it('shows nothing under the name before all is written', async () => {
    const path = join(fresh(), 'x');
    await writeFileAtomically(path, async (handle) => {
      await handle.writeFile('whole');
      await expect(readFile(path)).rejects.toThrow('ENOENT');
    });
    expect(await readFile(path, 'utf8')).toBe('whole');
  });
});

describe('openSafetensors()', () => {
  it('reads tensors by range until it is closed', async () => {
    const path = join(fresh(), 'x.safetensors');
    await writeSafetensors(path, tensors, { by: 'test' });
    const file = await openSafetensors(path);
    expect(file.metadata).toEqual({ by: 'test' });
    expect(await file.float32('b')).toEqual(new Float32Array(4).fill(1));
    await file.close();
    await expect(file.float32('b')).rejects.toThrow();
  });

  it('says that a file is missing, is a directory, or was cut short after it was opened', async () => {
    await expect(openSafetensors(join(root, 'none'))).rejects.toThrow('none: there is no such file; check the path');
    await expect(openSafetensors(root)).rejects.toThrow(`${root}: is no file`);
    const path = join(fresh(), 'x.safetensors');
    await writeSafetensors(path, tensors);
    const file = await openSafetensors(path);
    await truncate(path, 100);
    await expect(file.bytes('c')).rejects.toThrow('it was cut short after it was opened');
    await file.close();
  });
});

describe('openSafetensorsModel()', () => {
  it('gives the same for one file and for shards', async () => {
    const [one, many] = [fresh(), fresh()];
    expect(await writeSafetensorsModel(one, tensors)).toEqual(['model.safetensors']);
    expect(await writeSafetensorsModel(many, tensors, undefined, 40)).toEqual([
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ]);
    expect(JSON.parse(await readFile(join(many, 'model.safetensors.index.json'), 'utf8'))).toEqual({
      metadata: { total_size: 48 },
      weight_map: {
        a: 'model-00001-of-00002.safetensors',
        b: 'model-00001-of-00002.safetensors',
        c: 'model-00002-of-00002.safetensors',
      },
    });
    for (const dir of [one, many]) {
      const file = await openSafetensorsModel(dir);
      expect(file.names).toEqual(['a', 'b', 'c']);
      expect(file.metadata).toEqual({ format: 'pt' });
      expect(file.entry('c')).toMatchObject({ dtype: 'F32', shape: [2, 2] });
      expect(await file.float32('c')).toEqual(new Float32Array(4).fill(2));
      await file.close();
    }
  });

  /** Three shards of one tensor each, then `change`d. */
  async function broken(change: (dir: string, index: { weight_map: Record<string, unknown> }) => Promise<unknown>) {
    const dir = fresh();
    await writeSafetensorsModel(dir, tensors, undefined, 16);
    const index = JSON.parse(await readFile(join(dir, 'model.safetensors.index.json'), 'utf8'));
    await change(dir, index);
    await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify(index));
    return openSafetensorsModel(dir);
  }
  const shard = (n: number) => `model-0000${n}-of-00003.safetensors`;

  it('names a missing shard', async () => {
    await expect(broken((dir) => rm(join(dir, shard(2))))).rejects.toThrow(
      `index.json: names the shard '${shard(2)}', which is not there; download it`,
    );
  });

  it('names a tensor that its shard lacks', async () => {
    await expect(
      broken(async (_, index) => {
        index.weight_map.d = shard(1);
      }),
    ).rejects.toThrow(`tensor 'd': the index says it is in '${shard(1)}', which does not have it`);
  });

  it('names a tensor that two shards have', async () => {
    await expect(
      broken((dir) => writeSafetensors(join(dir, shard(3)), { a: tensors.a!, c: tensors.c! })),
    ).rejects.toThrow(`tensor 'a': is in '${shard(1)}' and in '${shard(3)}'`);
  });

  it('names a tensor listed twice in the index', async () => {
    const dir = fresh();
    await writeSafetensorsModel(dir, tensors, undefined, 16);
    await writeFile(join(dir, 'model.safetensors.index.json'), `{"weight_map":{"a":"${shard(1)}","a":"${shard(2)}"}}`);
    await expect(openSafetensorsModel(dir)).rejects.toThrow("tensor 'a': is listed twice in the index");
  });

  it('names a damaged shard', async () => {
    await expect(broken((dir) => truncate(join(dir, shard(3)), 100))).rejects.toThrow(
      `${shard(3)}: tensor 'c': data_offsets`,
    );
  });

  it('reaches no file outside the directory', async () => {
    await expect(
      broken(async (_, index) => {
        index.weight_map.a = '../other.safetensors';
      }),
    ).rejects.toThrow("tensor 'a': wanted the name of a shard file beside the index");
  });

  it('says that there are no weights, or that the index is no index', async () => {
    const dir = fresh();
    await expect(openSafetensorsModel(dir)).rejects.toThrow('wanted model.safetensors or model.safetensors.index.json');
    await writeFileAtomically(join(dir, 'model.safetensors.index.json'), (h) => h.writeFile('{}'));
    await expect(openSafetensorsModel(dir)).rejects.toThrow("wanted an object 'weight_map' from tensor to shard");
    await writeFileAtomically(join(dir, 'model.safetensors.index.json'), (h) => h.writeFile('{'));
    await expect(openSafetensorsModel(dir)).rejects.toThrow('index.json: is no valid JSON');
  });
});
