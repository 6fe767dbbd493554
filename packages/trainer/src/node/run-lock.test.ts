import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { lockDirectory, refuseHeld } from './run-lock.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-lock-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** The number of a process that has ended. */
const gone = spawnSync(process.execPath, ['-e', '']).pid;
const held = (number: number, holder: object) =>
  writeFile(
    join(directory, `.spft-lock.${number}`),
    JSON.stringify({ host: hostname(), began: null, since: 'then', ...holder }),
  );

describe('lockDirectory()', () => {
  it('keeps others out until it is released, and leaves nothing', async () => {
    const place = join(directory, 'deep', 'run');
    const lock = await lockDirectory(place);
    expect(JSON.parse(await readFile(lock.file, 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() });
    const refusal = {
      code: 'SPFT_TRAINER',
      reason: 'locked',
      message: expect.stringMatching(
        new RegExp(
          `run is in use by process ${process.pid} on ${hostname()} since 20.*: wait for it, or choose another output_dir`,
        ),
      ),
    };
    await expect(lockDirectory(place)).rejects.toMatchObject(refusal);
    await expect(refuseHeld(place)).rejects.toMatchObject(refusal);
    await lock.release();
    await lock.release();
    expect(await readdir(place)).toEqual([]);
    expect(await refuseHeld(join(directory, 'none'))).toEqual([]);
    await (await lockDirectory(place)).release();
  });

  it('is taken over from a process that is dead, or whose number another process has now', async () => {
    await held(1, { pid: gone });
    await held(3, { pid: process.ppid, began: 'another boot 12' });
    const lock = await lockDirectory(directory);
    expect(await readdir(directory)).toEqual(['.spft-lock.4']);
    await lock.release();
  });

  it('is taken over by a job of Slurm that was queued again, on another machine too, and by no other step of it', async () => {
    vi.stubEnv('SLURM_JOB_ID', '4711');
    const earlier = { pid: 1, host: 'elsewhere', job: { id: '4711', restarts: 0 } };
    await held(1, earlier);
    await expect(lockDirectory(directory)).rejects.toThrow('in use by process 1 on elsewhere');
    vi.stubEnv('SLURM_RESTART_COUNT', '1');
    const lock = await lockDirectory(directory);
    expect(JSON.parse(await readFile(lock.file, 'utf8')).job).toEqual({ id: '4711', restarts: 1 });
    await held(9, { ...earlier, job: { id: '4712', restarts: 0 } });
    await expect(lockDirectory(directory)).rejects.toThrow('in use by process 1 on elsewhere');
    vi.unstubAllEnvs();
    await lock.release();
  });

  it('is not taken from a process that lives, of another machine, or of what cannot be read', async () => {
    await held(1, { pid: process.ppid });
    await expect(lockDirectory(directory)).rejects.toThrow(
      `in use by process ${process.ppid} on ${hostname()} since then`,
    );
    await held(2, { pid: gone, host: 'elsewhere' });
    await expect(lockDirectory(directory)).rejects.toThrow(
      `on elsewhere since then: whether it still runs cannot be told from here; if it does not, remove ${join(directory, '.spft-lock.2')}`,
    );
    await writeFile(join(directory, '.spft-lock.3'), '{"pid":');
    await expect(lockDirectory(directory)).rejects.toThrow('a machine that it does not name');
  });

  it('goes to one alone of many that ask at once, a dead holder before them or not', async () => {
    for (const round of [0, 1, 2]) {
      if (round > 0) await held(round, { pid: gone });
      const asked = await Promise.allSettled(Array.from({ length: 12 }, () => lockDirectory(directory)));
      const got = asked.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      expect(got).toHaveLength(1);
      expect(await readdir(directory)).toHaveLength(1);
      await got[0]!.release();
    }
  });

  it('clears away what a killed process was writing of a lock of any number', async () => {
    const before = await readdir(directory);
    const host = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
    const { pid } = spawnSync(process.execPath, ['-e', '0']);
    await writeFile(join(directory, `..spft-lock.12.${host}-${pid}-91c1a415.tmp`), '{');
    const lock = await lockDirectory(directory);
    await lock.release();
    expect(await readdir(directory)).toEqual(before);
  });

  it('outlives nobody: a killed holder gives way', async () => {
    const code = 'setInterval(() => {}, 1e6); process.stdout.write("up")';
    const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(child.stdout, 'data');
    await held(1, { pid: child.pid });
    await expect(lockDirectory(directory)).rejects.toThrow(`in use by process ${child.pid}`);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await (await lockDirectory(directory)).release();
  });
});
