/**
 * @file Kernel sources to machine code for one architecture, kept on disk under a hash of all that went in: the compiler's version, the
 * architecture, the options, the headers and the source.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Nvrtc } from '../libraries/nvrtc.js';

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

/** `cuda/<file>.cu` compiled, from disk where it was compiled before. @throws CudaCompileError. */
export function compileCached(nvrtc: Nvrtc, architecture: string, file: string, defines: Defines): Buffer {
  headers ??= readHeaders();
  const source = readFileSync(join(SOURCES, `${file}.cu`), 'utf8');
  const options = compileOptions(defines);
  const inputs = [nvrtc.version, architecture, ...options.filter((option) => !option.startsWith('--include'))];
  const hash = createHash('sha256')
    .update([...inputs, headers, source].join('\0'))
    .digest('hex')
    .slice(0, 32);
  const folder = kernelCache();
  const path = join(folder, `${file}-${hash}.cubin`);
  try {
    const image = readFileSync(path);
    if (image.length > 0) return image;
  } catch {
    // compiled below
  }
  const image = nvrtc.compile(source, `${file}.cu`, architecture, options);
  store(folder, path, image);
  return image;
}

const readHeaders = (): string =>
  readdirSync(SOURCES)
    .filter((name) => name.endsWith('.cuh'))
    .sort()
    .map((name) => readFileSync(join(SOURCES, name), 'utf8'))
    .join('\0');

/** Written beside and renamed, as another process may be looking; a cache that cannot be written is done without. */
function store(folder: string, path: string, image: Buffer): void {
  try {
    mkdirSync(folder, { recursive: true });
    const beside = `${path}.${process.pid}`;
    writeFileSync(beside, image);
    renameSync(beside, path);
  } catch {
    // compiled again next time
  }
}
