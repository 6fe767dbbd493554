/** @file `spft train --shard_base` under mpirun on blas: the adapter of a run with a whole base, to the byte, with steps and evaluations that not all ranks have a share in. */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { orRequired } from '../../../test/support/required.js';
import { hasMpirun, MPIRUN, start } from '../../distributed/test/launch-ranks.js';
import { BASE, scratch } from './run-cli.js';

const bin = fileURLToPath(new URL('../bin/spft.js', import.meta.url));
const isBuilt = existsSync(fileURLToPath(new URL('../dist/bin.js', import.meta.url)));
const noMpi = orRequired('mpi', hasMpirun ? null : 'there is no mpirun of Open MPI');
const files = scratch();

/** @param ranks 0 for none of mpirun's. */
function train(ranks: number, out: string, ...more: string[]) {
  const launcher = ranks > 0 ? [...MPIRUN, '-n', String(ranks)] : [];
  const argv = [
    ...[process.execPath, bin, 'train', '--backend', 'blas', '--model', BASE, '--dataset', files.path('five.json')],
    ...['--output_dir', files.path(out), '--per_device_train_batch_size', '1', '--logging_steps', '1', ...more],
  ];
  return start([...launcher, ...argv]).ended;
}

describe.skipIf(!isBuilt || noMpi)(`spft train --shard_base${noMpi ? ` (${noMpi})` : ' (needs npm run build)'}`, () => {
  it('trains the adapter of a whole base: uneven steps, uneven evaluation, SparseLoRA', {
    timeout: 120_000,
  }, async () => {
    const rows = JSON.parse(await readFile(files.train, 'utf8')) as unknown[];
    // Of five rows on two ranks the last step of an epoch has one alone, and of three held out one rank has one.
    await writeFile(files.path('five.json'), JSON.stringify(rows.slice(0, 5)));
    await writeFile(files.path('held.json'), JSON.stringify(rows.slice(5, 8)));
    await writeFile(files.path('sparse.yaml'), 'mode: svd_4\nsparsity:\n  layers.2.mlp: 0.5\n  layers.3.mlp: 0.5\n');
    const common = [
      ...['--num_train_epochs', '2', '--validation', files.path('held.json'), '--per_device_eval_batch_size', '1'],
      ...['--eval_strategy', 'steps', '--eval_steps', '2', '--spft', files.path('sparse.yaml')],
    ];
    const [whole, sharded] = [
      await train(2, 'whole', ...common),
      await train(2, 'sharded', ...common, '--shard_base', 'true'),
    ];
    expect([whole.code, sharded.code], whole.stderr + sharded.stderr).toEqual([0, 0]);
    const [a, b] = await Promise.all(
      ['whole', 'sharded'].map((out) => readFile(files.path(`${out}/adapter_model.safetensors`))),
    );
    expect(b!.equals(a!)).toBe(true);
    const losses = async (out: string) =>
      (await readFile(files.path(`${out}/log.jsonl`), 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
        .flatMap(({ loss, eval_loss }) => [loss, eval_loss].filter((value) => value !== undefined));
    expect(await losses('sharded')).toEqual(await losses('whole'));
  });

  it('says that one process alone has all of it, and what ranks must not do by themselves', {
    timeout: 60_000,
  }, async () => {
    const alone = await train(0, 'alone', '--max_steps', '1', '--shard_base', 'true');
    expect([alone.code, alone.stderr]).toEqual([0, expect.stringContaining('shard_base: this process is alone')]);
    const refused = await train(2, 'refused', '--max_steps', '1', '--shard_base', 'true', '--eval_dataset', files.test);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('error: shard_base does not go with eval_dataset');
  });
});
