/** @file JSON files of a checkpoint, and what is said of one that cannot be continued. */
import { shortJson } from '@spft/config';
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

/** @throws TrainerError when the file is missing or no JSON object. */
export function checkpointObject(files: ReadonlyMap<string, Uint8Array>, name: string): Record<string, unknown> {
  const value = checkpointJson(files, name);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new TrainerError('checkpoint', `${name}: wanted an object, found ${shortJson(value)}`);
}

export const jsonBytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
