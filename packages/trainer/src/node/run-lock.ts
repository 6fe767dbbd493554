/**
 * @file One run to a directory: a lock file with the process and the machine that hold it, taken over when that process is dead.
 *
 * A lock has a number, and whoever holds the highest one whose holder lives holds the directory. It is made whole under its name by a hard link,
 * which fails where the name is taken. A dead holder's lock is never replaced, but outnumbered: of several processes that find the same dead one,
 * one alone gets the next number, and one that comes late, when that holder has come and gone, finds a number above its own and starts again.
 */
import { link, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isAlive, makeDirectory, removeLeftovers, temporaryPath } from '@spft/safetensors/node';
import { TrainerError } from '../errors.js';

/** A directory that is this process's until it is released. */
export interface DirectoryLock {
  /** The lock's file. */
  readonly file: string;
  /** Gives the directory free; once is enough. */
  release(): Promise<void>;
}

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process began, as the system counts it: another process may have the same number later. Null where it is not known. */
  readonly began: string | null;
  /** The job of a scheduler that it belongs to, and how often that job had been queued again; null where it is of none. */
  readonly job: { readonly id: string; readonly restarts: number } | null;
  /** When the lock was taken, for people. */
  readonly since: string;
}

const NAME = /^\.spft-lock\.(\d+)$/;
const UNFINISHED = /^\.\.spft-lock\.(\d+)\./;

/**
 * Takes a directory for this process; it is made where there is none.
 * @throws TrainerError with reason `locked` where another process holds it, or held it on another machine.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  await makeDirectory(directory);
  const me: Holder = {
    ...{ pid: process.pid, host: hostname(), began: await beginning(process.pid), job: jobOf(process.env) },
    since: new Date().toISOString(),
  };
  for (;;) {
    const before = await refuseHeld(directory);
    const mine = (before.at(-1) ?? 0) + 1;
    const file = fileOf(directory, mine);
    if (!(await claim(file, me))) continue;
    const all = await numbersIn(directory);
    if (all.at(-1) === mine) {
      for (const number of all) if (number < mine) await rm(fileOf(directory, number), { force: true });
      await removeUnfinished(directory);
      return { file, release: () => rm(file, { force: true }) };
    }
    await rm(file, { force: true });
  }
}

/** Clears away locks of any number that a killed process was writing: numbers begin anew with every lock that is released. */
async function removeUnfinished(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const number = UNFINISHED.exec(name)?.[1];
    if (number !== undefined) await removeLeftovers(fileOf(directory, Number(number)));
  }
}

/**
 * Refuses a directory that is held, before anything is done for a run in it.
 * @returns the numbers of locks whose holders are dead.
 * @throws TrainerError with reason `locked`.
 */
export async function refuseHeld(directory: string): Promise<number[]> {
  const numbers = await numbersIn(directory);
  const highest = numbers.at(-1);
  if (highest === undefined) return [];
  const file = fileOf(directory, highest);
  const holder = await readHolder(file);
  // Released in between.
  if (holder === null) return refuseHeld(directory);
  const alive = await isHolding(holder);
  if (alive === false) return numbers;
  const { pid, host, since } = holder;
  const rest =
    alive === true
      ? 'wait for it, or choose another output_dir'
      : `whether it still runs cannot be told from here; if it does not, remove ${file}`;
  throw new TrainerError('locked', `${directory} is in use by process ${pid} on ${host} since ${since}: ${rest}`);
}

const fileOf = (directory: string, number: number): string => join(directory, `.spft-lock.${number}`);

/** Ascending. */
async function numbersIn(directory: string): Promise<number[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names
    .map((name) => Number(NAME.exec(name)?.[1]))
    .filter((number) => number > 0)
    .sort((a, b) => a - b);
}

/** Makes a lock; false where its name is taken. */
async function claim(file: string, holder: Holder): Promise<boolean> {
  const text = `${JSON.stringify(holder)}\n`;
  const whole = temporaryPath(file);
  try {
    await writeFile(whole, text, { flag: 'wx' });
    await link(whole, file);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!WITHOUT_LINKS.has(code ?? '')) throw error;
    return createExclusively(file, text);
  } finally {
    await rm(whole, { force: true });
  }
}

/** What file systems without hard links answer. */
const WITHOUT_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

async function createExclusively(file: string, text: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx');
    await handle.writeFile(text).finally(() => handle.close());
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Null where the file is gone. One that is no lock of ours holds for someone who is not known. */
async function readHolder(file: string): Promise<Holder | null> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const { pid, host, began, job, since } = JSON.parse(text) as Partial<Holder>;
    if (Number.isSafeInteger(pid) && typeof host === 'string') {
      return { pid: pid!, host, began: began ?? null, job: job ?? null, since: String(since) };
    }
  } catch {
    // Not JSON.
  }
  return {
    pid: 0,
    host: 'a machine that it does not name',
    began: null,
    job: null,
    since: 'a time that it does not say',
  };
}

/** Whether the holder's process is there; null where that cannot be told from this machine. */
async function isHolding({ pid, host, began, job }: Holder): Promise<boolean | null> {
  const mine = jobOf(process.env);
  // A job is queued again when its earlier try has ended, often on other machines.
  if (job && mine && job.id === mine.id && job.restarts < mine.restarts) return false;
  if (host !== hostname()) return null;
  if (!isAlive(pid)) return false;
  const now = await beginning(pid);
  return began === null || now === null || now === began;
}

/** Slurm's job, and how often it was queued again. */
function jobOf(env: Readonly<Record<string, string | undefined>>): Holder['job'] {
  const { SLURM_JOB_ID: id, SLURM_RESTART_COUNT: restarts } = env;
  return id ? { id, restarts: Number(restarts) || 0 } : null;
}

/** Boot and clock ticks at which a process began, on Linux; elsewhere null. */
async function beginning(pid: number): Promise<string | null> {
  try {
    const [stat, boot] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    ]);
    // The second field, the program's name, may hold blanks and brackets; the beginning is the 22nd.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return ticks === undefined ? null : `${boot.trim()} ${ticks}`;
  } catch {
    return null;
  }
}
