/**
 * @file What loading takes of the host's memory beside the model itself: no more than the largest tensor takes in its file. The most that this process had at a time
 * is Linux's own count (`VmHWM`), begun anew before each load; where there is none these tests are skipped.
 * @own-process as what other files leave in memory would count.
 */
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { TINY } from '../../test/tiny.js';
import { llamaConfigJson, llamaTensors } from '../llama-config.js';
import type { LoadOptions } from '../load-options.js';
import { fromPretrained } from './index.js';

const MiB = 2 ** 20;

/** Kilobytes of a line of /proc/self/status, in bytes. */
const status = async (key: string): Promise<number> =>
  1024 * Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(await readFile('/proc/self/status', 'utf8'))![1]);

const beginAnew = () => writeFile('/proc/self/clear_refs', '5');

const uncounted = await beginAnew().then(
  () => null,
  (error: Error) => error.message,
);

setFlagsFromString('--expose_gc');
const collect = runInNewContext('gc') as () => void;

/** Most that was there at a time, over what was there before. */
async function mostOf(run: () => Promise<void>): Promise<number> {
  collect();
  await beginAnew();
  const before = await status('VmRSS');
  await run();
  return (await status('VmHWM')) - before;
}

/** One layer, whose large tensors are holes in a file: zeros, which take as long to read and as much room as any other numbers. */
const CONFIG = { ...TINY, numHiddenLayers: 1, numAttentionHeads: 8, numKeyValueHeads: 8, headDim: 64, hiddenSize: 512 };
const WIDE = { ...CONFIG, intermediateSize: 65536, vocabSize: 64, tieWordEmbeddings: true };
const MANY_WORDS = { ...CONFIG, intermediateSize: 64, vocabSize: 65536, tieWordEmbeddings: true };

async function writeHoles(dir: string, config: typeof CONFIG): Promise<void> {
  let at = 0;
  const entries = [...llamaTensors(config)].map(([name, shape]) => {
    const begin = at;
    at += 2 * shape.reduce((size, n) => size * n, 1);
    return [name, { dtype: 'BF16', shape, data_offsets: [begin, at] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = await open(join(dir, 'model.safetensors'), 'w');
  await file.write(Buffer.concat([length, header]));
  await file.truncate(8 + header.length + at);
  await file.close();
  await writeFile(join(dir, 'config.json'), JSON.stringify(llamaConfigJson(config)));
}

const title = uncounted === null ? 'memory of the host' : `memory of the host (skipped: ${uncounted})`;

describe.skipIf(uncounted !== null).each(TEST_BACKENDS)(`${title} while loading on %s`, (backend) => {
  let dir = '';
  beforeAll(async () => {
    await useBackend(backend);
    dir = await mkdtemp(join(tmpdir(), 'spft-memory-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  const NUMBERS = 512 * 65536;
  const NF4: LoadOptions = { basePrecision: 'nf4', doubleQuantisation: true };
  it.each([
    // Codes, scales in 8 bits, and a float for 256 of these.
    ['matrices of linear layers that are quantised', WIDE, NF4, 3 * NUMBERS * (1 / 2 + 1 / 64 + 4 / 64 / 256)],
    ['an embedding that is not', MANY_WORDS, NF4, 4 * NUMBERS],
    ['an embedding that is', MANY_WORDS, { ...NF4, quantiseEmbeddings: true }, NUMBERS * (1 / 2 + 1 / 64)],
  ] as const)('is that of the model and of its largest tensor, of %s', async (_, config, options, model) => {
    await writeHoles(dir, config);
    const small = await mkdtemp(join(dir, 'small-'));
    await writeHoles(small, { ...config, intermediateSize: 64, vocabSize: 64 });
    // What has to be compiled is there before.
    (await fromPretrained(small, options)).dispose();
    const largest = 2 * NUMBERS;
    let loaded: { dispose(): void } | null = null;
    const most = await mostOf(async () => {
      loaded = await fromPretrained(dir, options);
    });
    loaded!.dispose();
    expect(most).toBeLessThan(model + largest + 48 * MiB);
    expect(tf.memory().numTensors).toBe(0);
  });
});
