/** @file The command in this process, with its streams caught; and the small real model and data that tests use it on. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { main } from '../src/main.js';
import type { CliIo } from '../src/terminal/io.js';

const quickstart = fileURLToPath(new URL('../../../examples/quickstart/', import.meta.url));
/** A Llama of 3 million parameters with tokenizer and chat template. */
export const BASE = join(quickstart, 'base');
export const CONFIGS = fileURLToPath(new URL('../../../configs/', import.meta.url));

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Presses Ctrl-C as soon as this has been written to stderr. */
  readonly interruptAt?: RegExp;
}

/** Runs `spft` with these arguments on wasm; checks that it leaves no tensor behind, whatever came of it. */
export async function spft(argv: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const written = { stdout: '', stderr: '' };
  const listeners = new Set<(signal: 'SIGINT') => void>();
  let interrupted = false;
  const io: CliIo = {
    stdout: {
      write: (text) => {
        written.stdout += text;
      },
    },
    stderr: {
      write: (text) => {
        written.stderr += text;
        if (interrupted || !options.interruptAt?.test(written.stderr)) return;
        interrupted = true;
        for (const listener of listeners) listener('SIGINT');
      },
    },
    stdin: (async function* () {
      if (options.stdin) yield options.stdin;
    })(),
    env: { ...process.env, ...options.env },
    onInterrupt(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  await useBackend('wasm');
  const before = tf.memory().numTensors;
  const code = await main(['--backend', 'wasm', ...argv], io);
  expect(tf.memory().numTensors, 'tensors left behind').toBe(before);
  expect(listeners.size, 'listeners left behind').toBe(0);
  return { code, ...written };
}

/** Runs it and expects it to work. */
export async function works(argv: readonly string[], options?: CliOptions): Promise<CliResult> {
  const result = await spft(argv, options);
  expect(result.code, result.stderr).toBe(0);
  return result;
}

/** Runs it and expects it to fail by saying why, without a stack. @returns what it said. */
export async function fails(argv: readonly string[], options?: CliOptions): Promise<string> {
  const result = await spft(argv, options);
  expect(result.code, result.stdout).toBe(1);
  expect(result.stderr).toMatch(/^error: /m);
  expect(result.stderr).not.toMatch(/^\s+at |this is a bug/m);
  return result.stderr;
}

export interface Scratch {
  /** A path in a directory of this test file's own. */
  path(...parts: string[]): string;
  /** Training rows, from those of the quickstart. */
  readonly train: string;
  /** Held-out questions with answers. */
  readonly test: string;
  /** A sparsity file for the small base. */
  readonly sparsity: string;
}

/** A temporary directory with a few rows of data and a sparsity file; call at the top of a test file. */
export function scratch(): Scratch {
  let root = '';
  const path = (...parts: string[]) => join(root, ...parts);
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'spft-cli-'));
    for (const [name, rows] of [
      ['train', 12],
      ['test', 4],
    ] as const) {
      const all = JSON.parse(await readFile(join(quickstart, 'data', `${name}.json`), 'utf8')) as unknown[];
      await writeFile(path(`${name}.json`), JSON.stringify(all.slice(0, rows), null, 1));
    }
    await writeFile(path('sparsity.yaml'), SPARSITY);
  });
  afterAll(() => rm(root, { recursive: true }));
  return {
    path,
    get train() {
      return path('train.json');
    },
    get test() {
      return path('test.json');
    },
    get sparsity() {
      return path('sparsity.yaml');
    },
  };
}

const SPARSITY = `mode: svd_8
skip_output_tokens: true
sparsity:
  layers.1.mlp: 0.9
  layers.1.self_attn: 0.5
  layers.2.mlp: 0.75
`;
