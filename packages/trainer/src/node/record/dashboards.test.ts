import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../../test/support/backends.js';
import { run } from '../../../test/toy-run.js';
import type { TrainerCallback } from '../../loop/callbacks.js';
import { ModuleStatistics } from '../../record/module-statistics.js';
import type { ListenablePlan } from '../../record/sparsity-statistics.js';
import { TensorBoardLogger } from './tensorboard-logger.js';
import { WandbLogger } from './wandb-logger.js';

let directory: string;
beforeEach(async () => {
  await useBackend('cpu');
  directory = await mkdtemp(join(tmpdir(), 'spft-dashboards-'));
});
afterEach(() => rm(directory, { recursive: true }));

/** Data of every record; lengths are believed, checksums are compared with a bitwise computation. */
function records(file: Buffer): Buffer[] {
  const crc = (bytes: Buffer) => {
    let value = 0xffffffff;
    for (const byte of bytes) {
      value ^= byte;
      for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
    }
    value = ~value >>> 0;
    return (((value >>> 15) | (value << 17)) + 0xa282ead8) >>> 0;
  };
  const all: Buffer[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    expect(file.readUInt32LE(at + 8)).toBe(crc(file.subarray(at, at + 8)));
    const data = file.subarray(at + 12, at + 12 + length);
    expect(file.readUInt32LE(at + 12 + length)).toBe(crc(data));
    all.push(data);
    at += 16 + length;
  }
  return all;
}

describe('TensorBoardLogger', () => {
  it('writes an event file with transformers’ tags, whole after every line', async () => {
    await run({ args: { maxSteps: 2, loggingSteps: 1 }, callbacks: [new TensorBoardLogger(directory)] });
    const [name] = await readdir(directory);
    expect(name).toMatch(/^events\.out\.tfevents\.\d{10}\./);
    const [first, ...rest] = records(await readFile(join(directory, name!)));
    expect(first!.toString('latin1')).toContain('brain.Event:2');
    const text = rest.map((data) => data.toString('latin1'));
    expect(text).toHaveLength(3);
    expect(text[0]).toContain('train/loss');
    expect(text[0]).toContain('train/learning_rate');
    expect(text[2]).toContain('train/train_runtime');
    // Field 2 of an event is its step.
    expect(rest.map((data) => [data[9], data[10]])).toEqual([
      [0x10, 1],
      [0x10, 2],
      [0x10, 2],
    ]);
  });
});

describe('WandbLogger', () => {
  const options = () => ({ name: 'n', config: { lr: 1 }, directory });
  const args = { maxSteps: 2, loggingSteps: 1 };

  it('keeps a run as JSON lines where there is no key, and says so', async () => {
    const notes: string[] = [];
    const logger = new WandbLogger({ ...options(), env: {}, load: () => Promise.reject(new Error('not asked')) });
    await run({ args, callbacks: [logger], notify: (note) => notes.push(note) });
    const lines = (await readFile(join(directory, 'offline-run.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l));
    expect(lines[0]).toEqual({ project: 'spft', name: 'n', config: { lr: 1 } });
    expect(lines[1]).toMatchObject({ _step: 1, 'train/global_step': 1 });
    expect(lines[1]['train/loss']).toBeGreaterThan(0);
    expect(notes.join()).toContain('there is no WANDB_API_KEY, so nothing is sent');
  });

  it('goes on in the file of a run that was killed in the middle of a line', async () => {
    const path = join(directory, 'offline-run.jsonl');
    await writeFile(path, '{"name":"n"}\n{"_step":1}\n{"_st');
    await run({ args, callbacks: [new WandbLogger({ ...options(), env: {} })] });
    const lines = (await readFile(path, 'utf8')).trim().split('\n');
    expect(lines.map((line) => JSON.parse(line)._step)).toEqual([undefined, 1, undefined, 1, 2, 2]);
  });

  /** A server that knows the key. */
  const knows = (async () => Response.json({ data: { viewer: { id: '1', entity: 'me' } } })) as typeof fetch;

  it('sends what it logs by the SDK, all values of a step as one row, and finishes', async () => {
    const calls: unknown[] = [];
    const sdk = {
      init: async (given: unknown) => {
        calls.push(given);
        return {
          log: (...given: unknown[]) => calls.push(given),
          finish: async () => calls.push('finish'),
          url: () => 'u',
        };
      },
    };
    const env = { WANDB_API_KEY: 'k'.repeat(40), WANDB_PROJECT: 'mine', WANDB_BASE_URL: 'http://127.0.0.1:1' };
    const logger = new WandbLogger({ ...options(), env, load: async () => ({ default: sdk }), fetch: knows });
    const more: TrainerCallback = { onStepEnd: ({ state }) => logger.values(state.globalStep, { 'stats/x': 0.5 }) };
    await run({ args, callbacks: [logger, more] });
    expect(calls[0]).toMatchObject({ project: 'mine', name: 'n', settings: { baseUrl: 'http://127.0.0.1:1' } });
    expect(calls.slice(1)).toEqual([
      [expect.objectContaining({ 'train/global_step': 1, 'train/loss': expect.any(Number), 'stats/x': 0.5 }), 1],
      [expect.objectContaining({ 'train/global_step': 2, 'train/train_loss': expect.any(Number), 'stats/x': 0.5 }), 2],
      'finish',
    ]);
  });

  it('refuses before the first step where the key is refused or the SDK is missing', async () => {
    const env = { WANDB_API_KEY: 'k'.repeat(40) };
    const refused = {
      init: () => Promise.reject(Object.assign(new Error('x'), { response: { errors: [{ message: 'invalid key' }] } })),
    };
    const attempt = (load: () => Promise<unknown>, ask = knows) =>
      run({ args, callbacks: [new WandbLogger({ ...options(), env, load, fetch: ask })] });
    await expect(attempt(async () => refused)).rejects.toThrow(
      'wandb refuses the run (invalid key); check WANDB_API_KEY',
    );
    await expect(attempt(() => Promise.reject(new Error('gone')))).rejects.toThrow(
      'needs the package @wandb/sdk, which is not installed',
    );
    const never = async () => ({ init: () => Promise.reject(new Error('not asked')) });
    const answers = (response: () => Response) => (async () => response()) as typeof fetch;
    await expect(
      attempt(
        never,
        answers(() => new Response('', { status: 401 })),
      ),
    ).rejects.toThrow('wandb refuses the run (the key is refused, HTTP 401); check WANDB_API_KEY');
    await expect(
      attempt(
        never,
        answers(() => Response.json({ data: { viewer: null } })),
      ),
    ).rejects.toThrow('the key is refused: it belongs to no user');
    const gone = (async () => {
      throw Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNREFUSED' } });
    }) as typeof fetch;
    await expect(attempt(never, gone)).rejects.toThrow('https://api.wandb.ai cannot be reached: ECONNREFUSED');
    const online = new WandbLogger({ ...options(), env: { WANDB_MODE: 'online' } });
    await expect(run({ args, callbacks: [online] })).rejects.toThrow('there is no WANDB_API_KEY');
  });

  it('takes the SDK’s handlers of signals away, and hears what it throws beside its promise', async () => {
    const env = { WANDB_API_KEY: 'k'.repeat(40) };
    const listeners = () => ['SIGINT', 'SIGTERM'].map((signal) => process.listenerCount(signal as 'SIGINT'));
    const before = listeners();
    const sdk = {
      init: async () => {
        process.once('SIGINT', () => process.exit(1));
        process.once('SIGTERM', () => undefined);
        return { log: () => undefined, finish: async () => undefined };
      },
    };
    await run({ args, callbacks: [new WandbLogger({ ...options(), env, load: async () => sdk, fetch: knows })] });
    expect(listeners()).toEqual(before);
    const others = process.listeners('uncaughtException');
    const throwing = {
      init: () => {
        // As its port's listener does; Vitest's own listener would fail the test.
        setImmediate(() =>
          (process.listeners('uncaughtException').at(-1) as (e: Error) => void)(new Error('no such entity')),
        );
        return new Promise(() => undefined);
      },
    };
    const logger = new WandbLogger({ ...options(), env, load: async () => throwing, fetch: knows });
    await expect(run({ args, callbacks: [logger] })).rejects.toThrow('wandb refuses the run (no such entity)');
    expect(process.listeners('uncaughtException')).toEqual(others);
  });
});

describe('ModuleStatistics', () => {
  it('gives the original’s names to what sparsity drops, beside another listener', async () => {
    const plan: { listener: ((event: never) => void) | null } = { listener: null };
    const got: Record<string, number>[] = [];
    const statistics = new ModuleStatistics(plan as ListenablePlan, [
      { values: (_, values) => void got.push({ ...values }) },
    ]);
    const denseTokens = statistics.counting((labels) => labels.map((label) => Number(label !== -100)));
    const speak = {
      onPreOptimizerStep: () => {
        const outer = plan.listener!;
        // As `SparsityStatistics` does for one step.
        plan.listener = (event) => outer(event);
        for (const [module, part] of [
          ['mlp', 'mlp'],
          ['self_attn', 'q'],
        ]) {
          plan.listener({ layer: 3, module, part, selection: { kept: 2, total: 8 } } as never);
        }
        plan.listener = outer;
      },
    };
    await run({ args: { maxSteps: 2, loggingSteps: 1 }, denseTokens, callbacks: [statistics, speak] });
    expect(plan.listener).toBeNull();
    expect(got).toHaveLength(2);
    const at = 'stats/base_model.model.model.layers.3';
    expect(got[0]).toMatchObject({ [`${at}.mlp/sparsity/ffn`]: 0.75, [`${at}.self_attn/sparsity/q`]: 0.75 });
    expect(got[0]![`${at}.mlp/token_split/dense`]).toBeGreaterThan(0);
  });
});
