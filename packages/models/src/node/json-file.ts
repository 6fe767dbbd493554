/** @file JSON files of a model directory. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { showValue } from '@spft/safetensors';
import { ModelError } from '../errors.js';

/** The text of a file, or undefined where there is none. */
export async function readTextIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ModelError(`${path}: cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** A parsed JSON file, or undefined where there is none. @throws ModelError when it is no JSON. */
export async function readJsonIfThere(dir: string, name: string): Promise<unknown> {
  const path = join(dir, name);
  const text = await readTextIfThere(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ModelError(`${path}: is no valid JSON: ${(cause as Error).message}; download or write it again`, {
      cause,
    });
  }
}

/** The object in a JSON file, or undefined where there is none. @throws ModelError when it is no JSON object. */
export async function readJsonObjectIfThere(
  dir: string,
  name: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const json = await readJsonIfThere(dir, name);
  if (json === undefined || (typeof json === 'object' && json !== null && !Array.isArray(json))) {
    return json as Readonly<Record<string, unknown>> | undefined;
  }
  throw new ModelError(`${join(dir, name)}: wanted a JSON object, found ${showValue(json)}`);
}
