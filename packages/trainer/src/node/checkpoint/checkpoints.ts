/**
 * @file Checkpoints in a directory, `checkpoint-<step>` as transformers names them. Each is written beside under a hidden name, every file
 * flushed to the disk, a manifest with sizes and SHA-256 last; then renamed. Whatever happens in between, the previous one stays valid
 * and the unfinished one is recognised.
 */
import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { shortJson } from '@spft/config';
import { isAlive } from '@spft/safetensors/node';
import type { CheckpointEntry, CheckpointFiles, CheckpointStore } from '../../checkpoint/store.js';
import { TrainerError } from '../../errors.js';
import { type FileSystem, nodeFileSystem } from '../file-system.js';

const MANIFEST = 'manifest.json';
const FORMAT = 'spft-checkpoint';
const FINISHED = /^checkpoint-(\d+)$/;
/** A checkpoint that is being written, and one that is being replaced by a newer one of the same step. */
const UNFINISHED = /^\.checkpoint-(\d+)\.(?:writing|removing)-/;
const REPLACED = /^\.checkpoint-(\d+)\.replaced$/;

interface Manifest {
  readonly format: typeof FORMAT;
  readonly version: 1;
  readonly step: number;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

/** @param directory of the run (`output_dir`); made when first written to. */
export function directoryCheckpoints(directory: string, fs: FileSystem = nodeFileSystem): CheckpointStore {
  const locate = (step: number) => join(directory, `checkpoint-${step}`);
  return {
    locate,
    write: (step, files) => writeCheckpoint(fs, directory, locate(step), step, files),
    list: () => listCheckpoints(fs, directory),
    read: (location) => readCheckpoint(fs, location),
    async remove(location) {
      // First out of sight: a removal that is cut short leaves no half of a checkpoint under its name.
      const doomed = join(dirname(location), `.${basename(location)}.removing-${process.pid}`);
      await fs.rename(location, doomed);
      await fs.remove(doomed);
    },
  };
}

async function writeCheckpoint(
  fs: FileSystem,
  directory: string,
  location: string,
  step: number,
  files: CheckpointFiles,
): Promise<string> {
  const beside = join(directory, `.checkpoint-${step}.writing-${process.pid}`);
  const manifest: Manifest = {
    format: FORMAT,
    version: 1,
    step,
    files: Object.fromEntries(
      [...files].map(([name, bytes]) => [name, { bytes: bytes.length, sha256: sha256(bytes) }]),
    ),
  };
  try {
    await fs.makeDirectory(directory);
    await removeLeftovers(fs, directory);
    await fs.makeDirectory(beside);
    for (const [name, bytes] of files) await fs.writeFile(join(beside, name), bytes);
    await fs.writeFile(join(beside, MANIFEST), new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`));
    await fs.syncDirectory(beside);
    await moveInto(fs, beside, directory, location);
    return location;
  } catch (error) {
    await fs.remove(beside).catch(() => undefined);
    throw new TrainerError(
      'checkpoint',
      `checkpoint ${location} could not be written: ${(error as Error).message}. Earlier checkpoints are untouched; ` +
        `make room or choose another output_dir, then resume from the last one`,
      { cause: error },
    );
  }
}

/** Renames, setting aside a checkpoint of the same step until the new one stands. */
async function moveInto(fs: FileSystem, beside: string, directory: string, location: string): Promise<void> {
  const aside = join(directory, `.${basename(location)}.replaced`);
  const exists = (await fs.list(directory)).includes(basename(location));
  if (exists) await fs.rename(location, aside);
  await fs.rename(beside, location);
  await fs.syncDirectory(directory);
  if (exists) await fs.remove(aside);
}

/** What runs that were killed have left, of processes that are gone. */
async function removeLeftovers(fs: FileSystem, directory: string): Promise<void> {
  await restoreReplaced(fs, directory);
  for (const name of await fs.list(directory)) {
    const pid = Number(UNFINISHED.test(name) ? name.split('-').at(-1) : Number.NaN);
    if (pid === process.pid || (pid > 0 && !isAlive(pid))) await fs.remove(join(directory, name));
  }
}

/** A kill between the two renames of a replacement: the old one is still whole, and gets its name back. */
async function restoreReplaced(fs: FileSystem, directory: string): Promise<void> {
  const names = await fs.list(directory);
  for (const name of names) {
    const step = REPLACED.exec(name)?.[1];
    if (step === undefined) continue;
    if (names.includes(`checkpoint-${step}`)) await fs.remove(join(directory, name));
    else await fs.rename(join(directory, name), join(directory, `checkpoint-${step}`));
  }
}

async function listCheckpoints(
  fs: FileSystem,
  directory: string,
): Promise<{ complete: CheckpointEntry[]; notices: string[] }> {
  await restoreReplaced(fs, directory);
  const complete: CheckpointEntry[] = [];
  const notices: string[] = [];
  for (const name of await fs.list(directory)) {
    const location = join(directory, name);
    const step = FINISHED.exec(name)?.[1];
    if (step !== undefined) {
      if ((await fs.list(location)).includes(MANIFEST)) complete.push({ step: Number(step), location });
      else notices.push(`${location} has no ${MANIFEST}: it is incomplete or not ours, and is skipped`);
    } else if (UNFINISHED.test(name)) {
      notices.push(`${location} was never finished, and is skipped; the next checkpoint removes it`);
    }
  }
  complete.sort((a, b) => a.step - b.step);
  return { complete, notices };
}

async function readCheckpoint(fs: FileSystem, location: string): Promise<CheckpointFiles> {
  const damaged = (what: string, cause?: unknown) =>
    new TrainerError('checkpoint', `checkpoint ${location}: ${what}; resume from an earlier one`, { cause });
  const read = async (name: string) => {
    try {
      return await fs.readFile(join(location, name));
    } catch (error) {
      throw damaged(`${name} cannot be read: ${(error as Error).message}`, error);
    }
  };
  // What cannot be listed is said where it cannot be read.
  if (!(await fs.list(location).catch(() => [MANIFEST])).includes(MANIFEST)) {
    throw new TrainerError(
      'checkpoint',
      `checkpoint ${location}: there is no ${MANIFEST} in it, or no such directory: it was never finished, is not ours, or lies elsewhere; name another, or give true for the latest in output_dir`,
    );
  }
  const text = new TextDecoder().decode(await read(MANIFEST));
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text) as Manifest;
  } catch (error) {
    throw damaged(`${MANIFEST} is not JSON: ${(error as Error).message}`, error);
  }
  if (manifest?.format !== FORMAT || manifest.version !== 1) {
    const { format, version } = manifest ?? {};
    throw damaged(
      `${MANIFEST} wants format ${FORMAT} version 1, found ${shortJson(format)} version ${shortJson(version)}`,
    );
  }
  if (!isFileTable(manifest.files)) {
    throw damaged(`${MANIFEST} wants bytes and sha256 of each of its files, found ${shortJson(manifest.files)}`);
  }
  const files = new Map<string, Uint8Array>();
  for (const [name, expected] of Object.entries(manifest.files)) {
    if (basename(name) !== name)
      throw damaged(`${MANIFEST} names ${JSON.stringify(name)}, which is no plain file name`);
    const bytes = await read(name);
    if (bytes.length !== expected.bytes) {
      throw damaged(
        `${name} has ${bytes.length} bytes, the manifest says ${expected.bytes}: the file is truncated or damaged`,
      );
    }
    if (sha256(bytes) !== expected.sha256) {
      throw damaged(`the SHA-256 of ${name} is not that of the manifest: the file is damaged`);
    }
    files.set(name, bytes);
  }
  return files;
}

function isFileTable(value: unknown): value is Manifest['files'] {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((entry) => Number.isInteger(entry?.bytes) && typeof entry.sha256 === 'string')
  );
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
