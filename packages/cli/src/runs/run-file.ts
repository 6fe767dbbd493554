/** @file `spft_run.json` beside an adapter: how it was trained, for people, and for commands that go on with it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '@spft/safetensors/node';

export const RUN_FILE = 'spft_run.json';

export interface RunFile {
  readonly spft: string;
  readonly run_name: string;
  readonly backend: string;
  /** Prompt template of the training data; null where it is the model's chat template. */
  readonly template: string | null;
  /** Every training key. */
  readonly train: Readonly<Record<string, unknown>>;
  /** The sparsity config; null for a dense run. */
  readonly sparsity: Readonly<Record<string, unknown>> | null;
}

export async function writeRunFile(directory: string, run: RunFile): Promise<void> {
  const text = `${JSON.stringify(run, null, 2)}\n`;
  await writeFileAtomically(join(directory, RUN_FILE), (handle) => handle.writeFile(text));
}

/** Null where there is none, or none that can be read: it is a help, and adapters of others have none. */
export async function readRunFile(directory: string): Promise<RunFile | null> {
  try {
    return JSON.parse(await readFile(join(directory, RUN_FILE), 'utf8')) as RunFile;
  } catch {
    return null;
  }
}
