/**
 * @file Temporary files and directories: beside the place that they are made for, under a name that says whose they are, so that the next run can
 * clear away those of processes that were killed.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** Tells machines that share a file system apart: a process number means something on its own machine alone. */
const HOST = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);

/** `.name.<host>-<process>-<random>.<ending>` beside `path`. */
export function temporaryPath(path: string, ending = 'tmp'): string {
  const owner = `${HOST}-${process.pid}-${randomBytes(4).toString('hex')}`;
  return join(dirname(path), `.${basename(path)}.${owner}.${ending}`);
}

/**
 * What processes of this machine that are gone have left beside `path` by `temporaryPath`, in full; none where the directory cannot be read.
 * Names without a host are those of earlier versions.
 */
export async function leftoversOf(path: string, ending = 'tmp'): Promise<string[]> {
  const directory = dirname(path);
  const names = await readdir(directory).catch(() => []);
  const [head, tail] = [`.${basename(path)}.`, `.${ending}`];
  return names
    .filter((name) => {
      if (!name.startsWith(head) || !name.endsWith(tail)) return false;
      const [, host = HOST, pid] =
        /^(?:([0-9a-f]{8})-)?(\d+)-[0-9a-f]{8}$/.exec(name.slice(head.length, -tail.length)) ?? [];
      return pid !== undefined && host === HOST && !isAlive(Number(pid));
    })
    .map((name) => join(directory, name));
}

/** Removes them, as far as that is permitted: what was left behind is no reason for a run to fail. */
export async function removeLeftovers(path: string, ending = 'tmp'): Promise<void> {
  for (const found of await leftoversOf(path, ending)) {
    await rm(found, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Whether there is a process of that number on this machine. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
