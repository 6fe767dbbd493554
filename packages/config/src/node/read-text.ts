/** @file Reads a config file whole, with errors that help to find the right one. */
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { nearestNames } from '@spft/safetensors/internals';
import { ConfigError } from '../config-error.js';

/** @throws ConfigError when the file is missing (naming files like it), unreadable, or no UTF-8 text. */
export async function readConfigText(path: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new ConfigError([{ file: path, line: null, path: [], message: await whyUnreadable(path, error) }]);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigError([{ file: path, line: null, path: [], message: 'this is not UTF-8 text; save it as UTF-8' }]);
  }
}

async function whyUnreadable(path: string, error: unknown): Promise<string> {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EISDIR') return 'this is a directory; name a file in it';
  if (code !== 'ENOENT' && code !== 'ENOTDIR') return `cannot be read: ${message}`;
  const directory = dirname(path);
  const files = await configFilesIn(directory);
  if (files === null) return `does not exist, nor does its directory ${directory}`;
  if (files.length === 0) return 'does not exist, and there are no YAML or JSON files beside it';
  const near = nearestNames(basename(path), files, 3).map((name) => join(directory, name));
  return `does not exist; did you mean ${near.join(', ')}?`;
}

async function configFilesIn(directory: string): Promise<string[] | null> {
  try {
    return (await readdir(directory)).filter((name) => /\.(ya?ml|json)$/i.test(name)).sort();
  } catch {
    return null;
  }
}
