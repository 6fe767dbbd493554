/** @file Making a directory with those above it. */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a directory, and those above it that are missing; nothing where it is there. Node's own recursive `mkdir` never returns where a file system
 * answers ENOENT though the directory above is there, as /proc does.
 * @throws the system's error, with the path that it refused.
 */
export async function makeDirectory(path: string): Promise<void> {
  const error = await refusal(path);
  if (error === null) return;
  if (error.code === 'EEXIST' && (await stat(path)).isDirectory()) return;
  const above = dirname(path);
  if (error.code !== 'ENOENT' || above === path) throw error;
  // Where it is there by now, somebody else may have made it in between.
  if (!(await isDirectory(above))) await makeDirectory(above);
  const again = await refusal(path);
  // Another process may have made it in between.
  if (again !== null && !(again.code === 'EEXIST' && (await isDirectory(path)))) throw again;
}

async function refusal(path: string): Promise<NodeJS.ErrnoException | null> {
  return mkdir(path).then(
    () => null,
    (error: NodeJS.ErrnoException) => error,
  );
}

const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
