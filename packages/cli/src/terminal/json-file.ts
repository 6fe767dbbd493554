/** @file Summaries for programs: one JSON object, to a file that appears whole or to stdout (`-`). */
import { dirname } from 'node:path';
import { makeDirectory, writeFileAtomically } from '@spft/safetensors/node';
import { requireWritable } from '../steps/writable.js';
import type { Output } from './output.js';

/**
 * Makes the directory of a file that is to be written at the end, so that a path that cannot be is told at the beginning.
 * @throws CliError when the file cannot be written.
 */
export async function preparePath(path: string | undefined): Promise<void> {
  if (path === undefined || path === '-') return;
  await requireWritable(path, 'the file', 'name another');
  await makeDirectory(dirname(path));
}

/** @param path file, `-` for stdout, undefined for nowhere. */
export async function writeJson(path: string | undefined, value: unknown, output: Output): Promise<void> {
  if (path === undefined) return;
  const text = `${JSON.stringify(value, null, 2)}\n`;
  if (path === '-') output.io.stdout.write(text);
  else await writeFileAtomically(path, (handle) => handle.writeFile(text));
}
