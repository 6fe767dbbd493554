/**
 * @file Kernel sources to machine code for one architecture, kept on disk under a hash of all that went in: the compiler's version, the
 * architecture, the options, the headers and the source.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Nvrtc } from '../libraries/nvrtc.js';
import { readCached, writeCached } from './cache-files.js';

/** Where the sources lie: beside `src` and `dist`. */
export const SOURCES = fileURLToPath(new URL('../../cuda/', import.meta.url));

export type Defines = Readonly<Record<string, string | number>>;

/** Folder of compiled kernels: `SPFT_CUDA_CACHE`, or `spft/cuda` in the user's cache. */
export function kernelCache(env: NodeJS.ProcessEnv = process.env): string {
  return env.SPFT_CUDA_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'spft', 'cuda');
}

/** Options of every compilation. */
export function compileOptions(defines: Defines): string[] {
  return [
    '--std=c++17',
    '--device-as-default-execution-space',
    `--include-path=${SOURCES}`,
    ...Object.entries(defines).map(([name, value]) => `-D${name}=${value}`),
  ];
}

let headers: string | null = null;

/**
 * `cuda/<file>.cu` compiled, from disk where it was compiled before.
 * @param anew what is on disk is of no use: it is compiled and takes its place.
 * @throws CudaCompileError.
 */
export function compileCached(
  nvrtc: Nvrtc,
  architecture: string,
  file: string,
  defines: Defines,
  anew = false,
): Buffer {
  headers ??= readHeaders();
  const source = readFileSync(join(SOURCES, `${file}.cu`), 'utf8');
  const options = compileOptions(defines);
  const inputs = [nvrtc.version, architecture, ...options.filter((option) => !option.startsWith('--include'))];
  const hash = createHash('sha256')
    .update([...inputs, headers, source].join('\0'))
    .digest('hex')
    .slice(0, 32);
  const path = join(kernelCache(), `${file}-${hash}.cubin`);
  const known = anew ? null : readCached(path);
  if (known) return known;
  const image = nvrtc.compile(source, `${file}.cu`, architecture, options);
  writeCached(path, image);
  return image;
}

const readHeaders = (): string =>
  readdirSync(SOURCES)
    .filter((name) => name.endsWith('.cuh'))
    .sort()
    .map((name) => readFileSync(join(SOURCES, name), 'utf8'))
    .join('\0');
