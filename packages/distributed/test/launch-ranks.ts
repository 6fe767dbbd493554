/** @file Starts the ranks of a test: by mpirun, or each by itself with torchrun's variables. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('./ranks.mjs', import.meta.url));

/** Ranks run what was built. */
export const isBuilt = existsSync(fileURLToPath(new URL('../dist/thread/main.js', import.meta.url)));

/** Whether there is an mpirun of Open MPI. */
export const hasMpirun = ((): boolean => {
  try {
    return /Open MPI/.test(execFileSync('mpirun', ['--version'], { encoding: 'utf8' }));
  } catch {
    return false;
  }
})();

export const MPIRUN = ['mpirun', '--allow-run-as-root', '--oversubscribe'];

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Waits for something on stdout. */
  said(pattern: RegExp): Promise<string>;
}

export function start([command, ...args]: readonly string[], env: Readonly<Record<string, string>> = {}): Started {
  // What vitest or an outer launcher has set is none of the ranks' business.
  const { NODE_OPTIONS: _, ...rest } = process.env;
  const began = performance.now();
  const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...rest, ...env } });
  const written = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      written[name] += text;
    });
  }
  running.add(child);
  const ended = new Promise<Ended>((resolve) =>
    child.on('close', (code) => {
      running.delete(child);
      resolve({ code, ...written, seconds: (performance.now() - began) / 1000 });
    }),
  );
  return {
    ...{ child, ended },
    async said(pattern) {
      for (;;) {
        if (pattern.test(written.stdout)) return written.stdout;
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`ended before it said ${pattern}: ${written.stderr}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
}

const running = new Set<ChildProcess>();

/** Ends what a test has left, for `afterEach`: mpirun ends its ranks. */
export function endAll(): void {
  for (const child of running) child.kill('SIGTERM');
}

/** `size` ranks of `ranks.mjs` under mpirun. */
export function mpirun(size: number, args: readonly string[], env: Readonly<Record<string, string>> = {}): Started {
  return start([...MPIRUN, '-n', String(size), process.execPath, script, ...args], env);
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The variables that torchrun would set. */
export const torchrunVariables = (rank: number, size: number, port: number): Record<string, string> => ({
  ...{ RANK: String(rank), WORLD_SIZE: String(size), LOCAL_RANK: String(rank), LOCAL_WORLD_SIZE: String(size) },
  ...{ MASTER_ADDR: '127.0.0.1', MASTER_PORT: String(port), TORCHELASTIC_RUN_ID: 'test' },
});

/** `size` ranks of `ranks.mjs` with torchrun's variables. */
export async function byTcp(
  size: number,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Started[]> {
  const SPFT_PORT = String(await freePort());
  return Array.from({ length: size }, (_, rank) =>
    start([process.execPath, script, ...args], { ...torchrunVariables(rank, size, 29_500), SPFT_PORT, ...env }),
  );
}
