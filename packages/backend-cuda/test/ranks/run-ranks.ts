/** @file Several processes with a device of the emulator each: they run a function of `program.ts` as ranks of one run. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** Kernels' sources are found from where a bundle lies. */
const FOLDER = at('../../.device/bundles/');

/** Bundles a program of this package's, or of another's, for `runRanks`. @returns the file. */
export async function bundleProgram(source: string, name: string): Promise<string> {
  const file = join(FOLDER, `${name}-${process.pid}.mjs`);
  await build({
    entryPoints: [source],
    outfile: file,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
    tsconfig: at('../../../../scripts/device/tsconfig.json'),
    external: ['koffi', '@tensorflow/*'],
  });
  return file;
}

export interface Ended<T> {
  readonly code: number | null;
  readonly stderr: string;
  /** What the rank printed, as JSON, on its last line; null where it printed none. */
  readonly result: T | null;
}

interface RankOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Told of each process, to be killed, say. */
  readonly started?: (rank: number, pid: number) => void;
}

/** Runs `program what` as `size` ranks; resolves when all have ended. */
export async function runRanks<T>(
  program: string,
  what: string,
  size: number,
  { env = {}, started }: RankOptions = {},
): Promise<Ended<T>[]> {
  const folder = mkdtempSync(join(tmpdir(), 'spft-ranks-'));
  try {
    return await Promise.all(
      Array.from({ length: size }, (_, rank) => {
        const child = spawn(process.execPath, [program, what], {
          stdio: ['ignore', 'pipe', 'pipe'],
          env: {
            ...process.env,
            ...{ RANK: String(rank), WORLD_SIZE: String(size), RANKS_FOLDER: folder },
            ...{ SPFT_EMULATOR_DEVICES: String(size), SPFT_CUDA_DEVICE: String(rank), SPFT_CUDA_TUNE: '0' },
            ...env,
          },
        });
        if (child.pid) started?.(rank, child.pid);
        const [out, err]: [string[], string[]] = [[], []];
        child.stdout.on('data', (chunk) => out.push(String(chunk)));
        child.stderr.on('data', (chunk) => err.push(String(chunk)));
        return new Promise<Ended<T>>((resolve) => {
          child.on('close', (code) => {
            const line = out.join('').trim().split('\n').at(-1) ?? '';
            resolve({ code, stderr: err.join(''), result: line.startsWith('{') ? JSON.parse(line) : null });
          });
        });
      }),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What every rank printed. @throws Error with their messages where one failed. */
export function resultsOf<T>(ended: readonly Ended<T>[]): T[] {
  ended.forEach(({ code, stderr, result }, rank) => {
    if (code !== 0 || result === null) throw new Error(`rank ${rank} ended with ${code}: ${stderr}`);
  });
  return ended.map(({ result }) => result!);
}
