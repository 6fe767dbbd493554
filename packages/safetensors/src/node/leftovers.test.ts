import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeFileAtomically } from './atomic-file.js';
import { isAlive, removeLeftovers, temporaryPath } from './leftovers.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-leftovers-'));
});
afterAll(() => rm(root, { recursive: true }));

/** The number of a process that has ended. */
const gone = spawnSync(process.execPath, ['-e', '']).pid;

/** A temporary path as another process would have made it. */
const madeBy = (pid: number, path: string, ending?: string) =>
  temporaryPath(path, ending).replace(`-${process.pid}-`, `-${pid}-`);

describe('writeFileAtomically()', () => {
  it('clears away what killed processes left of the same file, and nothing else', async () => {
    const path = join(root, 'x.json');
    const host = /\.([0-9a-f]{8})-\d+-/.exec(temporaryPath(path))![1]!;
    const kept = [
      madeBy(process.ppid, path),
      madeBy(gone, path, 'old'),
      madeBy(gone, join(root, 'y.json')),
      madeBy(gone, path).replace(host, host === '01234567' ? '76543210' : '01234567'),
      join(root, '.x.json.tmp'),
      join(root, `.x.json.${gone}-notours.tmp`),
    ];
    const left = [madeBy(gone, path), join(root, `.x.json.${gone}-0123abcd.tmp`)];
    for (const file of [...kept, ...left]) await writeFile(file, 'half');
    await writeFileAtomically(path, (handle) => handle.writeFile('whole'));
    expect((await readdir(root)).sort()).toEqual([...kept.map((file) => file.slice(root.length + 1)), 'x.json'].sort());
  });
});

describe('removeLeftovers()', () => {
  it('removes whole directories, and does not mind one that cannot be read', async () => {
    const left = madeBy(gone, join(root, 'merged'));
    await mkdir(join(left, 'deep'), { recursive: true });
    await removeLeftovers(join(root, 'merged'));
    expect(await readdir(root)).not.toContain(left.slice(root.length + 1));
    await removeLeftovers(join(root, 'none', 'x'));
  });
});

describe('isAlive()', () => {
  it('knows this process and one that is gone', () => {
    expect([isAlive(process.pid), isAlive(gone)]).toEqual([true, false]);
  });
});
