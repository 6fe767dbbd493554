/**
 * @file How sparse the quickstart may be: its accuracy over five seeds by estimator, sparsity and dense tail. A few minutes on a CPU.
 *
 *   node scripts/dist/accuracy/quickstart-seeds.js [--backend blas] [--seeds 0,1,2,3,4] [--only 'svd_8, 0.9']
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Output, openBackend, processIo, runTraining } from '@spft/cli';
import { loadTrainConfig } from '@spft/config/node';

const { values } = parseArgs({
  options: { backend: { type: 'string', default: 'blas' }, seeds: { type: 'string' }, only: { type: 'string' } },
});
const seeds = (values.seeds ?? '0,1,2,3,4').split(',').map(Number);
const here = 'examples/quickstart';

/** Every layer but the first, as the quickstart has it; null for LoRA. */
const sparsity = (mlp: number, mode: string, tail = 0, rank = 0): Record<string, string | number> => ({
  ...{ start_step: 0.1, end_step: 0.9, mode, skip_tail_tokens: tail, compensation_rank: rank, mlp },
});
const SETTINGS: readonly (readonly [name: string, keys: Record<string, string | number> | null])[] = [
  ['LoRA', null],
  ['svd_8, 0.75', sparsity(0.75, 'svd_8')],
  ['svd_8, 0.8', sparsity(0.8, 'svd_8')],
  ['svd_8, 0.85', sparsity(0.85, 'svd_8')],
  ['svd_8, 0.9', sparsity(0.9, 'svd_8')],
  ['svd_8, 0.9, tail of 8', sparsity(0.9, 'svd_8', 8)],
  ['calibrated_8, 0.75, tail of 8', sparsity(0.75, 'calibrated_8', 8)],
  ['calibrated_8, 0.9', sparsity(0.9, 'calibrated_8')],
  ['calibrated_8, 0.9, tail of 8', sparsity(0.9, 'calibrated_8', 8)],
  ['calibrated_8, 0.97, tail of 8', sparsity(0.97, 'calibrated_8', 8)],
  ['svd_8, 0.9, compensated 32', sparsity(0.9, 'svd_8', 0, 32)],
  ['svd_8, 0.97, compensated 32', sparsity(0.97, 'svd_8', 0, 32)],
  ['svd_8, 0.9, compensated 64', sparsity(0.9, 'svd_8', 0, 64)],
];

function text({ mlp, ...keys }: Record<string, string | number>): string {
  const lines = Object.entries({ ...keys, skip_output_tokens: true }).map(([key, value]) => `${key}: ${value}`);
  const layers = [0, 1, 2, 3].map((n) => `  layers.${n}.mlp: ${n === 0 ? 0 : mlp}\n  layers.${n}.self_attn: 0`);
  return `${[...lines, 'sparsity:', ...layers].join('\n')}\n`;
}

const output = new Output(processIo(), true);
await openBackend(values.backend, output);
const scratch = await mkdtemp(join(tmpdir(), 'spft-seeds-'));
for (const [name, keys] of SETTINGS) {
  if (values.only !== undefined && name !== values.only) continue;
  const spft = join(scratch, 'sparsity.yaml');
  if (keys !== null) await writeFile(spft, text(keys));
  const accuracies: number[] = [];
  let [flops, seconds] = [0, 0];
  for (const seed of seeds) {
    const config = await loadTrainConfig(`${here}/config/train.yaml`, {
      ...{ model_name_or_path: `${here}/base`, dataset: `${here}/data/train.json`, seed: String(seed) },
      ...{ eval_dataset: `${here}/data/test.json`, per_device_eval_batch_size: '50', save_strategy: 'no' },
      ...{ output_dir: join(scratch, 'run'), ...(keys !== null && { spft }) },
    });
    const run = await runTraining({ config, backend: values.backend, template: 'alpaca', overwrite: true }, output);
    accuracies.push(run.evaluations[0]!.accuracy);
    flops = run.flopsShare;
    seconds += (run.training.speed.secondsPerStep ?? 0) / seeds.length;
  }
  const mean = accuracies.reduce((sum, value) => sum + value, 0) / accuracies.length;
  const shown = accuracies.map((value) => (100 * value).toFixed(1)).join(' ');
  process.stdout.write(
    `${name}: ${(100 * mean).toFixed(1)} % (${shown}); FLOPs ${(100 * flops).toFixed(1)} %, ${seconds.toFixed(3)} s/step\n`,
  );
}
await rm(scratch, { recursive: true });
