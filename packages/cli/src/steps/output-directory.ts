/** @file `output_dir`: one run to a directory, so that no checkpoint of another run is ever taken for one of this. */
import { realpathSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { removeLeftovers } from '@spft/safetensors/node';
import type { CheckpointStore } from '@spft/trainer';
import { lockDirectory } from '@spft/trainer/node';
import { CliError } from '../errors.js';
import { RUN_FILE } from '../runs/run-file.js';

/** What a run leaves besides checkpoints. */
const OWN = [
  'adapter_config.json',
  'adapter_model.safetensors',
  'spft_base.json',
  RUN_FILE,
  'log.jsonl',
  'report.html',
  'metrics.json',
  'tensorboard',
  'wandb',
  'merged',
];

/**
 * @throws CliError when there is a run in the directory that is neither to be continued nor replaced.
 */
export async function refuseOtherRun(directory: string, store: CheckpointStore): Promise<void> {
  const names: string[] = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const { complete } = await store.list();
  const last = complete.at(-1);
  const found =
    last?.location ?? (names.includes('adapter_config.json') ? join(directory, 'adapter_config.json') : null);
  if (found === null) return;
  const goOn = last ? 'go on with it by --resume_from_checkpoint true, ' : '';
  throw new CliError(
    `output_dir ${directory} holds an earlier run (${found}); ${goOn}name another --output_dir, or replace it by --overwrite_output_dir`,
  );
}

/**
 * An adapter beside a model's weights would be taken for a part of it: transformers puts it onto the model whenever that is loaded.
 * @throws CliError when the directory is a model's.
 */
export async function refuseModelDirectory(directory: string): Promise<void> {
  const names = await readdir(directory).catch((): string[] => []);
  const weights = names.find((name) => /^(pytorch_)?model.*\.(safetensors|bin)$/.test(name));
  if (!names.includes('config.json') || weights === undefined) return;
  throw new CliError(
    `output_dir ${directory} holds a model (config.json, ${weights}), of which an adapter beside it would become a part; name another --output_dir`,
  );
}

/** Whether a run goes on with what is in its directory: not where it starts from a checkpoint that lies elsewhere. */
export function goesOnWith(directory: string, resumeFromCheckpoint: string | null): boolean {
  if (resumeFromCheckpoint === null) return false;
  if (resumeFromCheckpoint === 'true' || resumeFromCheckpoint === 'auto') return true;
  const [home, checkpoint] = [directory, resumeFromCheckpoint].map(realPath);
  return dirname(checkpoint!) === home;
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path);
  }
}

/** What is to become of what is in the directory already. */
export interface DirectoryPlan {
  /** Nothing there is asked about: the run goes on with it. */
  readonly resumes: boolean;
  /** A run that would go on begins at its start where there is no checkpoint. */
  readonly mayBegin?: boolean;
  /** An earlier run is removed. */
  readonly overwrite: boolean;
}

async function holdsRun(directory: string): Promise<boolean> {
  const names = await readdir(directory);
  return names.some((name) => name === RUN_FILE || name === 'adapter_config.json' || name.startsWith('checkpoint-'));
}

/**
 * Holds the directory for this process while `work` runs; makes it, without what an earlier run left if that is to be replaced.
 * @throws TrainerError when another process holds it; CliError when another run has come into it since it was looked at.
 */
export async function inDirectory<T>(
  directory: string,
  store: CheckpointStore,
  { resumes, mayBegin = false, overwrite }: DirectoryPlan,
  work: () => Promise<T>,
): Promise<T> {
  const lock = await lockDirectory(directory);
  try {
    const goesOn = resumes && !(mayBegin && (await store.list()).complete.length === 0);
    if (!goesOn && !overwrite) await refuseOtherRun(directory, store);
    // Where no run has been, what has the names of our files is somebody else's.
    if (overwrite && (await holdsRun(directory))) {
      for (const { location } of (await store.list()).complete) await store.remove(location);
      for (const name of OWN) await rm(join(directory, name), { force: true, recursive: true });
    }
    for (const name of OWN) await removeLeftovers(join(directory, name));
    return await work();
  } finally {
    await lock.release();
  }
}
