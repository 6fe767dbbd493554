/** @file JSON files of a checkpoint, and what is said of one that cannot be continued. */
import { TrainerError } from '../errors.js';

export const mismatch = (what: string): TrainerError =>
  new TrainerError('checkpoint', `this checkpoint cannot be continued: ${what}`);

/** @throws TrainerError when the file is missing. */
export function bytesOf(files: ReadonlyMap<string, Uint8Array>, name: string): Uint8Array {
  const bytes = files.get(name);
  if (!bytes) throw mismatch(`the file ${name} is missing`);
  return bytes;
}

/** @throws TrainerError when the file is missing or no JSON. */
export function checkpointJson(files: ReadonlyMap<string, Uint8Array>, name: string): unknown {
  const text = new TextDecoder().decode(bytesOf(files, name));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TrainerError('checkpoint', `${name}: not JSON: ${(error as Error).message}`, { cause: error });
  }
}

export const jsonBytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
