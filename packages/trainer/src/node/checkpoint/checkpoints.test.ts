import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toyModel, toySamples, valuesOf } from '../../../test/toy-model.js';
import { TrainerError } from '../../errors.js';
import { Trainer } from '../../loop/trainer.js';
import { type FileSystem, nodeFileSystem } from '../file-system.js';
import { directoryCheckpoints } from './checkpoints.js';

const filesOf = (fill: number) =>
  new Map([
    ['a.bin', new Uint8Array(1000).fill(fill)],
    ['b.bin', new Uint8Array(10).fill(fill)],
  ]);

/** A disk that is full from the n-th file on: half of that file is written, as happens. */
function fullDisk(from: number): FileSystem {
  let written = 0;
  return {
    ...nodeFileSystem,
    async writeFile(path, bytes) {
      if (++written < from) return nodeFileSystem.writeFile(path, bytes);
      await writeFile(path, bytes.subarray(0, bytes.length / 2));
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    },
  };
}

describe('directoryCheckpoints()', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'spft-checkpoints-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('writes, lists by step, reads back and removes', async () => {
    const store = directoryCheckpoints(directory);
    for (const step of [10, 9, 100]) await store.write(step, filesOf(step));
    const { complete, notices } = await store.list();
    expect(complete.map(({ step }) => step)).toStrictEqual([9, 10, 100]);
    expect(notices).toStrictEqual([]);
    expect(await store.read(store.locate(10))).toStrictEqual(filesOf(10));
    await store.remove(store.locate(9));
    expect((await readdir(directory)).sort()).toStrictEqual(['checkpoint-10', 'checkpoint-100']);
  });

  it('replaces a checkpoint of the same step', async () => {
    const store = directoryCheckpoints(directory);
    await store.write(5, filesOf(1));
    await store.write(5, filesOf(2));
    expect(await store.read(store.locate(5))).toStrictEqual(filesOf(2));
    expect(await readdir(directory)).toStrictEqual(['checkpoint-5']);
  });

  it.each([1, 2, 3])('leaves the previous one valid when the disk is full at file %i', async (from) => {
    await directoryCheckpoints(directory).write(1, filesOf(1));
    const full = directoryCheckpoints(directory, fullDisk(from));
    await expect(full.write(2, filesOf(2))).rejects.toThrow(TrainerError);
    await expect(full.write(1, filesOf(3))).rejects.toThrow(
      'checkpoint-1 could not be written: ENOSPC: no space left on device, write. Earlier checkpoints are untouched',
    );
    const store = directoryCheckpoints(directory);
    expect((await store.list()).complete.map(({ step }) => step)).toStrictEqual([1]);
    expect(await store.read(store.locate(1))).toStrictEqual(filesOf(1));
    expect(await readdir(directory)).toStrictEqual(['checkpoint-1']);
  });

  it('gives a replaced checkpoint its name back after a kill between the two renames', async () => {
    let renames = 0;
    const dies: FileSystem = {
      ...nodeFileSystem,
      rename: (from, to) => (++renames === 2 ? Promise.reject(new Error('killed')) : nodeFileSystem.rename(from, to)),
      remove: async () => undefined,
    };
    await directoryCheckpoints(directory).write(1, filesOf(1));
    await expect(directoryCheckpoints(directory, dies).write(1, filesOf(2))).rejects.toThrow('killed');
    expect(existsSync(join(directory, 'checkpoint-1'))).toBe(false);
    const store = directoryCheckpoints(directory);
    expect((await store.list()).complete.map(({ step }) => step)).toStrictEqual([1]);
    expect(await store.read(store.locate(1))).toStrictEqual(filesOf(1));
  });

  it('survives kill -9 in the middle of writing: the previous one is valid, the torn one is skipped and cleared', async () => {
    const bundle = join(directory, 'checkpoints.mjs');
    await build({
      stdin: {
        contents: "export * from './checkpoints.ts'; export * from '../file-system.ts'",
        resolveDir: fileURLToPath(new URL('.', import.meta.url)),
      },
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'error',
    });
    const runs = join(directory, 'run');
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('../../../test/interrupted-writer.mjs', import.meta.url)), bundle, runs],
      { stdio: ['ignore', 'inherit', 'inherit'] },
    );
    const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once('exit', (_, signal) => resolve(signal)));
    while (!existsSync(join(runs, 'in-the-middle')) && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    child.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL');

    const torn = `.checkpoint-2.writing-${child.pid}`;
    expect(await readdir(join(runs, torn))).toStrictEqual(['a.bin', 'b.bin']);
    const store = directoryCheckpoints(runs);
    const { complete, notices } = await store.list();
    expect(complete.map(({ step }) => step)).toStrictEqual([1]);
    expect(notices).toStrictEqual([
      `${join(runs, torn)} was never finished, and is skipped; the next checkpoint removes it`,
    ]);
    expect([...(await store.read(store.locate(1))).keys()]).toStrictEqual(['a.bin', 'b.bin']);
    await store.write(2, filesOf(2));
    expect((await readdir(runs)).sort()).toStrictEqual(['checkpoint-1', 'checkpoint-2', 'in-the-middle']);
  });

  it('skips a directory without manifest, saying so', async () => {
    await mkdir(join(directory, 'checkpoint-3'));
    const { complete, notices } = await directoryCheckpoints(directory).list();
    expect(complete).toStrictEqual([]);
    expect(notices[0]).toContain('checkpoint-3 has no manifest.json: it is incomplete or not ours, and is skipped');
  });

  it('refuses damaged checkpoints, naming the file', async () => {
    const store = directoryCheckpoints(directory);
    const location = store.locate(1);
    await store.write(1, filesOf(1));
    await writeFile(join(location, 'a.bin'), new Uint8Array(1000).fill(9));
    await expect(store.read(location)).rejects.toThrow('the SHA-256 of a.bin is not that of the manifest');
    await truncate(join(location, 'a.bin'), 5);
    await expect(store.read(location)).rejects.toThrow('a.bin has 5 bytes, the manifest says 1000');
    await rm(join(location, 'a.bin'));
    await expect(store.read(location)).rejects.toThrow('a.bin cannot be read');
    const manifest = join(location, 'manifest.json');
    await writeFile(manifest, (await readFile(manifest, 'utf8')).replace('a.bin', '../a.bin'));
    await expect(store.read(location)).rejects.toThrow('which is no plain file name');
    const whole = { format: 'spft-checkpoint', version: 1, step: 1 };
    for (const files of [null, [], 'x', { 'a.bin': null }, { 'a.bin': { bytes: '5', sha256: 'x' } }, { 'a.bin': 7 }]) {
      await writeFile(manifest, JSON.stringify({ ...whole, files }));
      await expect(store.read(location)).rejects.toThrow(
        'manifest.json wants bytes and sha256 of each of its files, found',
      );
    }
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    for (const text of ['null', '7', '[]', `{"format": ${deep}}`]) {
      await writeFile(manifest, text);
      await expect(store.read(location)).rejects.toThrow('manifest.json wants format spft-checkpoint version 1, found');
    }
    await writeFile(manifest, '{"format": "spft-checkpoint", "ver');
    await expect(store.read(location)).rejects.toMatchObject({ code: 'SPFT_TRAINER', reason: 'checkpoint' });
  });

  it('carries a whole run: full disk in the second checkpoint, resumed from the first, equals uninterrupted', async () => {
    const args = { maxSteps: 6, saveSteps: 2, learningRate: 0.05, loggingSteps: 1 } as const;
    const notices: string[] = [];
    const train = async (fs: FileSystem, resumeFromCheckpoint: boolean | string) => {
      const model = toyModel({ dropout: 0.1 });
      const checkpoints = directoryCheckpoints(directory, fs);
      const notify = (message: string) => notices.push(message);
      const trainer = new Trainer({ model, samples: toySamples(30), args, checkpoints, notify });
      try {
        await trainer.train({ resumeFromCheckpoint });
        return valuesOf(model);
      } finally {
        model.dispose();
      }
    };
    const whole = await train(nodeFileSystem, false);
    await rm(directory, { recursive: true });
    // A checkpoint of the trainer is six files and the manifest.
    await expect(train(fullDisk(7 + 3), false)).rejects.toThrow('checkpoint-4 could not be written: ENOSPC');
    expect(await readdir(directory)).toStrictEqual(['checkpoint-2']);
    const resumed = await train(nodeFileSystem, true);
    expect(resumed).toStrictEqual(whole);
    expect(notices.join('\n')).toMatch(/continuing from .*checkpoint-2 at step 2 of 6/);
    const manifest = JSON.parse(await readFile(join(directory, 'checkpoint-6', 'manifest.json'), 'utf8'));
    expect(Object.keys(manifest.files).sort()).toStrictEqual([
      'model_identity.json',
      'optimizer.safetensors',
      'rng_state.json',
      'scheduler.json',
      'trainable.safetensors',
      'trainer_state.json',
      'training_args.json',
    ]);
  });
});
