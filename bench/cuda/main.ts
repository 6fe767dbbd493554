/**
 * @file `npm run bench:cuda -- --json bench/results/h200.json`: the project's table, on an NVIDIA GPU; PyTorch's rows in the same run.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import '@spft/backend-cuda';
import type { CudaBackend } from '@spft/backend-cuda';
import type { LlamaForCausalLM } from '@spft/models';
import * as tf from '@tensorflow/tfjs';
import { GENERATIONS, measureGeneration } from './generation.js';
import { LLAMA3_8B, randomLlama, SMOLLM2_135M } from './llama.js';
import { measureRow, type RowResult } from './measure.js';
import { PEER_MODES, peerRow } from './peer.js';
import { ROWS, rowsNamed } from './rows.js';
import { verifyOnDevice } from './verify.js';

/** Every row of ours, in the order of the table. */
const MEASURED = [...ROWS, ...GENERATIONS].map(({ name }) => name);

const HELP = `Milliseconds a step of LoRA, DoRA and SparseLoRA on Llama-3-8B's and SmolLM2's shapes with random weights, beside their floors and PyTorch.

  --rows LIST        of ${MEASURED.join(', ')} (default all)
  --steps N          timed steps (default 50), --warmup N steps before (default 20), --profile N steps profiled (default 2)
  --floor N          rounds of the floor (default 10)
  --layers N         layers of the model (default 32), for trying things
  --peer FILE        PyTorch's bench (bench/cuda/torch_peer.py), --peer_modes LIST of
                     ${PEER_MODES.join(', ')}
  --configs DIR      sparsity files (default configs/sparsity)
  --no_verify        skips the verification
  --note TEXT        goes into the result
  --json FILE        writes the result`;

const { values: flags } = parseArgs({
  options: {
    ...{ rows: { type: 'string', default: MEASURED.join() } },
    ...{
      steps: { type: 'string', default: '50' },
      warmup: { type: 'string', default: '20' },
      floor: { type: 'string', default: '10' },
    },
    ...{
      profile: { type: 'string', default: '2' },
      layers: { type: 'string', default: '32' },
      json: { type: 'string' },
    },
    ...{
      peer: { type: 'string' },
      peer_modes: { type: 'string', default: 'hf,liger,liger_full,dora,liger_2x2048,smollm2,smollm2_compile' },
    },
    ...{ configs: { type: 'string', default: 'configs/sparsity' }, no_verify: { type: 'boolean', default: false } },
    ...{ note: { type: 'string' }, commit: { type: 'string' }, help: { type: 'boolean' } },
  },
});

function commit(): string | null {
  if (flags.commit) return flags.commit;
  try {
    return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}

async function main(): Promise<void> {
  const rows: RowResult[] = [];
  const say = (line: string) => console.error(line);
  const result = { device: '', driver: '', commit: commit(), date: new Date().toISOString(), node: process.version };
  const save = (extra: object) => {
    if (flags.json)
      writeFileSync(
        flags.json,
        `${JSON.stringify({ ...result, note: flags.note ?? null, ...extra, rows }, null, 2)}\n`,
      );
  };
  // First, so that its memory and ours are not on the GPU at the same time.
  if (flags.peer) {
    for (const mode of flags.peer_modes.split(',')) {
      const row = peerRow(flags.peer, mode, Number(flags.steps));
      if (typeof row === 'string') say(`${mode}: ${row}`);
      else rows.push(row);
      say(line(rows.at(-1)!));
      save({});
    }
  }
  if (!(await tf.setBackend('cuda'))) throw new Error("backend 'cuda' did not start; 'spft doctor' says why");
  const backend = tf.backend() as CudaBackend;
  Object.assign(result, { device: backend.device.info.name, driver: backend.device.info.driver });
  const verified = flags.no_verify ? [] : await verifyOnDevice(flags.configs, say);
  // Of one form at a time, as a step's memory counts all that is on the GPU.
  let model: LlamaForCausalLM | null = null;
  let stored = '';
  const asked = flags.rows.split(',').map((name) => name.trim());
  const generations = GENERATIONS.filter(({ name }) => asked.includes(name));
  const others = asked.filter((name) => !GENERATIONS.some((row) => row.name === name));
  for (const row of [...(others.length > 0 ? rowsNamed(others.join()) : []), ...generations]) {
    try {
      const { shape = 'llama3', basePrecision = 'bf16', keepTransposed = false, modulesToNotConvert = [] } = row;
      const outliers = 'outlierChannels' in row ? { outlierChannels: row.outlierChannels! } : {};
      const wanted = `${shape} ${basePrecision} ${keepTransposed} ${Object.values(outliers)} ${modulesToNotConvert}`;
      if (model === null || stored !== wanted) {
        model?.dispose();
        const started = performance.now();
        const small = shape === 'smollm2';
        const config = small ? SMOLLM2_135M : { ...LLAMA3_8B, numHiddenLayers: Number(flags.layers) };
        const doubleQuantisation = basePrecision === 'nf4';
        model = await randomLlama(config, 'bf16', {
          ...{ basePrecision, keepTransposed, doubleQuantisation, modulesToNotConvert, ...outliers },
        });
        stored = wanted;
        backend.device.synchronize();
        say(`${shape} in ${basePrecision} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
      }
      if ('prompt' in row) {
        const measured = await measureGeneration(model, row);
        rows.push(measured);
        say(
          `${line(measured)}, wall ${measured.wallMs} ms, ${measured.ofFloor} of reading the weights; ${measured.verified}`,
        );
        for (const { name, calls, ms } of measured.profile!.slice(0, 12))
          say(`    ${ms.toFixed(3)} ms ${calls} × ${name}`);
        save({ verified });
        continue;
      }
      const options = { steps: Number(flags.steps), warmup: Number(flags.warmup), profiled: Number(flags.profile) };
      rows.push(await measureRow(model, row, { ...options, floorRounds: Number(flags.floor), configs: flags.configs }));
      say(line(rows.at(-1)!));
      for (const { name, calls, ms } of rows.at(-1)!.profile!.slice(0, 25))
        say(`    ${ms.toFixed(3)} ms ${calls} × ${name}`);
    } catch (error) {
      say(`${row.name}: ${(error as Error).stack}`);
      process.exitCode = 1;
    }
    save({ verified });
  }
  model?.dispose();
}

function line(row: RowResult | undefined): string {
  if (!row) return '';
  const { name, msPerStep, p20, p80, tokensPerSecond, peakGiB, floorMs, hostMs, launches, firstStepsMs } = row;
  const rest =
    floorMs === undefined
      ? ''
      : `, floor ${floorMs}, host ${hostMs} (first ${firstStepsMs?.join(', ')}), ${launches} launches, loss ${row.losses?.join(' ')}`;
  return `${name}: ${msPerStep} ms (${p20}–${p80}), ${tokensPerSecond} tokens/s, ${peakGiB} GiB (${row.reservedGiB ?? '–'} reserved)${rest}`;
}

if (flags.help) console.log(HELP);
else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main().catch((error: Error) => {
    console.error(`bench: ${error.stack}`);
    process.exitCode = 1;
  });
}
