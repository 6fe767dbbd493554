/** @file `spft train --shared_selection` under mpirun: one choice of channels for all ranks, also in steps that not all have a share in. */
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

const SPARSITY =
  'mode: svd_4\nstart_step: 0\nsparsity: { layers.2.mlp: 0.75, layers.3.mlp: 0.75, layers.3.self_attn: 0.5 }\n';

/** @param ranks 0 for none of mpirun's. */
function train(ranks: number, rows: string, out: string, ...more: string[]) {
  const launcher = ranks > 0 ? [...MPIRUN, '-n', String(ranks)] : [];
  const argv = [
    ...[process.execPath, bin, 'train', '--backend', 'wasm', '--model', BASE, '--dataset', files.path(rows)],
    ...['--output_dir', files.path(out), '--per_device_train_batch_size', '1', '--num_train_epochs', '1', ...more],
  ];
  return start([...launcher, ...argv]).ended;
}
const adapter = (out: string) => readFile(files.path(`${out}/adapter_model.safetensors`));

describe.skipIf(!isBuilt || noMpi)(
  `spft train --shared_selection${noMpi ? ` (${noMpi})` : ' (needs npm run build)'}`,
  () => {
    it('chooses what each would alone where all have the same tokens, and else another', {
      timeout: 240_000,
    }, async () => {
      const all = JSON.parse(await readFile(files.train, 'utf8')) as unknown[];
      await writeFile(files.path('sparse.yaml'), SPARSITY);
      // Of five rows on two ranks the last step of an epoch has one alone: the other rank runs it along.
      await writeFile(files.path('same.json'), JSON.stringify(Array.from({ length: 5 }, () => all[0])));
      await writeFile(files.path('other.json'), JSON.stringify(all.slice(0, 5)));
      const sparse = ['--spft', files.path('sparse.yaml')];
      for (const rows of ['same', 'other']) {
        const own = await train(2, `${rows}.json`, `${rows}-own`, ...sparse);
        const shared = await train(2, `${rows}.json`, `${rows}-shared`, ...sparse, '--shared_selection', 'true');
        expect([own.code, shared.code], own.stderr + shared.stderr).toEqual([0, 0]);
        const isSame = (await adapter(`${rows}-own`)).equals(await adapter(`${rows}-shared`));
        expect(isSame, rows).toBe(rows === 'same');
      }
    });

    it('says where there is nothing to share, and refuses a choice without scores', { timeout: 120_000 }, async () => {
      await writeFile(files.path('sparse.yaml'), SPARSITY);
      await writeFile(
        files.path('two.json'),
        JSON.stringify(JSON.parse(await readFile(files.train, 'utf8')).slice(0, 2)),
      );
      const shared = ['--shared_selection', 'true', '--max_steps', '1'];
      const alone = await train(0, 'two.json', 'alone', '--spft', files.path('sparse.yaml'), ...shared);
      expect([alone.code, alone.stderr]).toEqual([
        0,
        expect.stringContaining('shared_selection: this is the only rank'),
      ]);
      const dense = await train(0, 'two.json', 'dense', ...shared);
      expect([dense.code, dense.stderr]).toEqual([0, expect.stringContaining('shared_selection: the run is dense')]);
      await writeFile(
        files.path('drawn.yaml'),
        SPARSITY.replace('svd_4', 'oracle_random_ffn').replace(/, layers.3.self_attn: 0.5/, ''),
      );
      const drawn = await train(2, 'two.json', 'drawn', '--spft', files.path('drawn.yaml'), ...shared);
      expect(drawn.code).not.toBe(0);
      expect(drawn.stderr).toContain("mode 'oracle_random_ffn' chooses without scores that ranks could add up");
    });
  },
);
