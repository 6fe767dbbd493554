/** @file JSON files among those of a model. */
import { type FileSet, readText, showValue } from '@spft/safetensors';
import { ModelError } from './errors.js';

/** The text of a file, or undefined where there is none. @throws ModelError when it cannot be read. */
export async function readTextIfThere(files: FileSet, file: string): Promise<string | undefined> {
  try {
    return (await readText(files, file)) ?? undefined;
  } catch (cause) {
    throw new ModelError(`${files.name}/${file}: cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** A parsed JSON file, or undefined where there is none. @throws ModelError when it is no JSON. */
export async function readJsonIfThere(files: FileSet, file: string): Promise<unknown> {
  const text = await readTextIfThere(files, file);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ModelError(
      `${files.name}/${file}: is no valid JSON: ${(cause as Error).message}; download or write it again`,
      { cause },
    );
  }
}

/** The object in a JSON file, or undefined where there is none. @throws ModelError when it is no JSON object. */
export async function readJsonObjectIfThere(
  files: FileSet,
  file: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const json = await readJsonIfThere(files, file);
  if (json === undefined || (typeof json === 'object' && json !== null && !Array.isArray(json))) {
    return json as Readonly<Record<string, unknown>> | undefined;
  }
  throw new ModelError(`${files.name}/${file}: wanted a JSON object, found ${showValue(json)}`);
}
