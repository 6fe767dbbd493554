/**
 * @file `npm run bench:load`: how fast a checkpoint of Llama-3-8B's shape comes from disk to the GPU, beside the same files read and thrown
 * away. What arrived is held against the files before a number is printed.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import '@spft/backend-cuda';
import type { CudaBackend } from '@spft/backend-cuda';
import { type LlamaConfig, type LlamaForCausalLM, llamaConfigJson, llamaTensors } from '@spft/models';
import { fromPretrained } from '@spft/models/node';
import { elementCount, type SafetensorsFile } from '@spft/safetensors';
import { openSafetensorsModel, writeSafetensorsModel } from '@spft/safetensors/node';
import * as tf from '@tensorflow/tfjs';
import { environment } from '../support/environment.js';
import { integers } from '../support/random.js';
import { LLAMA3_8B } from './llama.js';

const HELP = `GB/s of a checkpoint in bf16 with Llama-3-8B's shape, from disk to the GPU; needs as much room on the disk as in GPU memory.

  --layers N         layers of the model (default 32: 16 GB)
  --rounds N         loads, each after the same files were only read (default 2)
  --dir FOLDER       where the checkpoint is written and removed again (default the folder for temporary files)
  --json FILE        writes the result`;

const { values: flags } = parseArgs({
  options: {
    ...{ layers: { type: 'string', default: '32' }, rounds: { type: 'string', default: '2' } },
    ...{
      dir: { type: 'string', default: tmpdir() },
      json: { type: 'string' },
      commit: { type: 'string' },
      help: { type: 'boolean' },
    },
  },
});

/** Bytes of all weights. Each tensor is a stretch of the same random bf16 numbers between 2⁻⁸ and 1, from a place of its own. */
async function writeCheckpoint(dir: string, config: LlamaConfig): Promise<number> {
  const shapes = [...llamaTensors(config)];
  const largest = Math.max(...shapes.map(([, shape]) => elementCount(shape)));
  const numbers = new Uint16Array(largest + shapes.length);
  const first = integers(2 ** 20, 0x400, 7).map((n) => 0x3b80 + n);
  for (let at = 0; at < numbers.length; at += first.length) numbers.set(first.subarray(0, numbers.length - at), at);
  await writeSafetensorsModel(
    dir,
    Object.fromEntries(
      shapes.map(([name, shape], n) => {
        const data = () => new Uint8Array(numbers.buffer, 2 * n, 2 * elementCount(shape));
        return [name, { dtype: 'BF16' as const, shape, data }];
      }),
    ),
  );
  const json = { ...llamaConfigJson(config), torch_dtype: 'bfloat16' };
  writeFileSync(join(dir, 'config.json'), JSON.stringify(json));
  return shapes.reduce((sum, [, shape]) => sum + 2 * elementCount(shape), 0);
}

/** Empties the system's cache of files, where this user may. @returns whether it did. */
function dropCaches(): boolean {
  try {
    execFileSync('sync');
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}

/** Reads every file of the folder into the same memory, several at a time as the loader does. */
async function readAll(dir: string): Promise<void> {
  const files = readdirSync(dir).filter((name) => name.endsWith('.safetensors'));
  await Promise.all(
    files.map(async (name) => {
      const buffer = new Uint8Array(2 ** 25);
      const handle = await open(join(dir, name));
      try {
        while ((await handle.read(buffer, 0, buffer.length)).bytesRead > 0);
      } finally {
        await handle.close();
      }
    }),
  );
}

/** @throws Error where the GPU does not hold what the files do. */
async function verify(model: LlamaForCausalLM, files: SafetensorsFile): Promise<number> {
  const tensors = [...model.tensors];
  const some = tensors.filter((_, n) => n < 12 || n > tensors.length - 3);
  for (const [name, tensor] of some) {
    const wanted = await files.float32(name);
    const found = await tensor.data();
    const wrong = wanted.findIndex((value, n) => value !== found[n]);
    if (wrong >= 0)
      throw new Error(`verification: '${name}' has ${found[wrong]} at ${wrong}, its file ${wanted[wrong]}`);
  }
  return some.length;
}

async function seconds(f: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await f();
  return (performance.now() - started) / 1000;
}

async function main(): Promise<void> {
  if (!(await tf.setBackend('cuda'))) throw new Error("backend 'cuda' did not start; 'spft doctor' says why");
  const { device } = tf.backend() as CudaBackend;
  const config = { ...LLAMA3_8B, numHiddenLayers: Number(flags.layers) };
  const dir = mkdtempSync(join(flags.dir, 'spft-load-'));
  try {
    let bytes = 0;
    const wrote = await seconds(async () => {
      bytes = await writeCheckpoint(dir, config);
    });
    console.error(`${(bytes / 1e9).toFixed(2)} GB written in ${wrote.toFixed(1)} s`);
    const rows = [];
    for (let round = 0; round < Number(flags.rounds); round++) {
      // Both find the cache empty, or both find all in it.
      let cold = dropCaches();
      const read = await seconds(() => readAll(dir));
      cold = dropCaches() && cold;
      const before = process.memoryUsage.rss();
      let [model, told, peak]: [LlamaForCausalLM | null, number, number] = [null, 0, before];
      const onProgress = () => {
        told++;
        peak = Math.max(peak, process.memoryUsage.rss());
      };
      const loaded = await seconds(async () => {
        model = await fromPretrained(dir, { onProgress });
        device.synchronize();
      });
      const hostMiB = Math.round((peak - before) / 2 ** 20);
      const files = await openSafetensorsModel(dir);
      const verified = await verify(model!, files);
      await files.close();
      model!.dispose();
      const gbPerSecond = (time: number) => Math.round(bytes / time / 1e7) / 100;
      rows.push({
        ...{ cold, readSeconds: read, loadSeconds: loaded, readGBPerSecond: gbPerSecond(read) },
        ...{ loadGBPerSecond: gbPerSecond(loaded), hostMiB, progressCalls: told, tensorsVerified: verified },
      });
      console.error(
        `${cold ? 'cold' : 'cached'}: read ${read.toFixed(2)} s (${gbPerSecond(read)} GB/s), loaded ${loaded.toFixed(2)} s (${gbPerSecond(loaded)} GB/s), ` +
          `the process grew by up to ${hostMiB} MiB, ${told} calls of onProgress, ${verified} tensors verified`,
      );
    }
    const { name, driver } = device.info;
    const where = { ...environment('cuda'), ...(flags.commit && { commit: flags.commit }), device: name, driver };
    const result = { ...where, bytes, writeSeconds: wrote, rows };
    if (flags.json) writeFileSync(flags.json, `${JSON.stringify(result, null, 2)}\n`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

if (flags.help) console.log(HELP);
else {
  await main().catch((error: Error) => {
    console.error(`bench: ${error.stack}`);
    process.exitCode = 1;
  });
}
