import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HubServer } from '../../../../models/test/hub-server.js';
import { glueTask } from '../../glue/tasks.js';
import { loadGlue } from './load-glue.js';

const fixtures = fileURLToPath(new URL('../../../test/fixtures/', import.meta.url));
const root = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../../../shared', import.meta.url));
const shared = `${root}/datasets/glue`;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-glue-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});
async function file(name: string, text: string): Promise<void> {
  await mkdir(join(directory, name, '..'), { recursive: true });
  await writeFile(join(directory, name), text);
}

describe('loadGlue()', () => {
  it('reads GLUE’s own files: named labels, quotes that are text, CoLA and SST-2 without a header', async () => {
    await file('RTE/train.tsv', 'index\tsentence1\tsentence2\tlabel\n0\tHe said "no.\tNo "yes".\tnot_entailment\n');
    await file('RTE/dev.tsv', 'index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n');
    await file('CoLA/train.tsv', 'gj04\t0\t*\tHe run.\n');
    await file('CoLA/dev.tsv', 'gj04\t1\t\tHe runs.\n');
    await file('SST-2/train.tsv', 'sentence\tlabel\nfine\t1\n');
    await file('SST-2/dev.tsv', 'bad\t0\n');
    await file('MRPC/msr_paraphrase_train.txt', '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\t"a\tb\n');
    await file('MRPC/msr_paraphrase_test.txt', 'Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t2\t3\tc\td\n');
    const rte = await loadGlue(glueTask('rte'), { data: directory });
    expect(rte.train).toMatchObject([{ texts: ['He said "no.', 'No "yes".'], label: 1 }]);
    expect(rte.evaluated.get('rte')).toMatchObject([{ label: 0 }]);
    expect((await loadGlue(glueTask('cola'), { data: directory })).train).toMatchObject([
      { texts: ['He run.'], label: 0 },
    ]);
    const sst2 = await loadGlue(glueTask('sst2'), { data: directory });
    expect([sst2.train[0], sst2.evaluated.get('sst2')![0]]).toMatchObject([
      { texts: ['fine'], label: 1 },
      { texts: ['bad'], label: 0 },
    ]);
    expect((await loadGlue(glueTask('mrpc'), { data: directory })).train).toMatchObject([
      { texts: ['"a', 'b'], label: 1 },
    ]);
    await expect(loadGlue(glueTask('wnli'), { data: directory })).rejects.toThrow(
      'wanted WNLI/train.tsv in it, found none',
    );
  });

  it('reads the hub’s parquet, a subset for each task', async () => {
    const parquet = await readFile(join(fixtures, 'rte-train.snappy.parquet'));
    const files = { 'rte/train-00000-of-00001.parquet': parquet, 'rte/validation-00000-of-00001.parquet': parquet };
    const hub = await new HubServer(files, 'nyu-mll/glue', (name) => name.endsWith('.parquet'), 'datasets').start();
    vi.stubEnv('HF_ENDPOINT', hub.endpoint);
    vi.stubEnv('HF_HOME', directory);
    vi.stubEnv('HF_HUB_CACHE', '');
    const { train, evaluated } = await loadGlue(glueTask('rte'));
    await hub.stop();
    expect(train).toMatchObject([{ label: 1 }, { label: 0 }, { texts: ['He said "yes".', 'He agreed.'], label: 0 }]);
    expect(evaluated.get('rte')).toHaveLength(3);
  });

  it('names file and line of a bad row, or skips it; refuses a split without labels', async () => {
    await file('t.csv', 'sentence,label\nfine,1\nodd,7\n');
    await file('v.jsonl', '{"sentence": "x", "label": -1}\n');
    const files = { trainFile: join(directory, 't.csv'), validationFile: join(directory, 'v.jsonl') };
    await expect(loadGlue(glueTask('sst2'), files)).rejects.toThrow(
      't.csv:3: wanted as label of sst2 a number below 2',
    );
    await expect(loadGlue(glueTask('sst2'), { ...files, skipBadRows: true })).rejects.toThrow(
      'the validation split of sst2 has no row with a label, as test splits have none (1 rows)',
    );
    await expect(loadGlue(glueTask('sst2'), { trainFile: files.trainFile })).rejects.toThrow('give both');
    await file('empty.csv', 'sentence,label\n');
    await expect(
      loadGlue(glueTask('sst2'), { trainFile: join(directory, 'empty.csv'), validationFile: files.trainFile }),
    ).rejects.toThrow('empty.csv: the train split of sst2 has no row with a label');
    await file('columns.jsonl', '{"text": "x", "label": 1}\n');
    await expect(
      loadGlue(glueTask('sst2'), { trainFile: join(directory, 'columns.jsonl'), validationFile: files.trainFile }),
    ).rejects.toThrow("columns.jsonl:1: lacks the column 'sentence' of sst2; it has 'text', 'label'");
  });
});

describe.skipIf(!existsSync(shared))(
  `GLUE's own samples${existsSync(shared) ? '' : ` (skipped: there is no ${shared})`}`,
  () => {
    it.each([
      ['rte', 800, 185],
      ['wnli', 346, 48],
      ['cola', 2000, 696],
      ['sst2', 2000, 582],
      ['mrpc', 1200, 400],
      ['stsb', 1500, 500],
    ])('%s has %i and %i rows', async (name, train, validation) => {
      const data = await loadGlue(glueTask(name), { data: shared });
      expect([data.train.length, data.evaluated.get(name)!.length, data.badRows.length]).toEqual([
        train,
        validation,
        0,
      ]);
    });
  },
);
