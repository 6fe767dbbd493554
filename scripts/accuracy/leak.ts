/**
 * @file Measures whether the choice of channels lets labels reach the context (leak-trial.ts), by who chooses, from which tokens, and how sparse. Minutes on a
 * CPU; what is in --out already is not measured again, so a call that was interrupted goes on.
 *
 *   node scripts/dist/accuracy/leak.js --model DIR --data FILE --out FILE.jsonl [--seeds 0,1,2] [--only TEXT,TEXT]
 *   node scripts/dist/accuracy/leak.js --merge FILE.jsonl[,FILE.jsonl] --machine TEXT       bench/results/leak.json
 */
import { execFileSync } from 'node:child_process';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { Output, openBackend, openModel, processIo } from '@spft/cli';
import { promptTemplate, tokenizePrompt } from '@spft/trainer';
import { loadDataset } from '@spft/trainer/node';
import { CHOICES, leakConfig } from './leak-choices.js';
import { type LeakRow, leakTable } from './leak-table.js';
import { LABELS_ALONE, leakTrial, registerLabelsAlone } from './leak-trial.js';
import { between } from './pages.js';

const RESULT = 'bench/results/leak.json';
const PAGE = 'docs/ACCURACY.md';

const SPARSITIES = [
  ['MLP 0.5', 0.5, 0],
  ['MLP 0.9', 0.9, 0],
  ['MLP 0.97', 0.97, 0],
  ['MLP 0.9, attention 0.75', 0.9, 0.75],
] as const;

async function measure(): Promise<void> {
  const [steps, rank, held] = [values.steps, values.rank, values.held].map(Number) as [number, number, number];
  const output = new Output(processIo(), true);
  await openBackend(values.backend, output);
  const { model, tokenizer } = await openModel(values.model!, output);
  registerLabelsAlone(model);
  const { records } = await loadDataset(values.data!);
  const template = promptTemplate('alpaca');
  const fields = records as unknown as readonly { readonly instruction: string; readonly input: string }[];
  const length = Number(values.length);
  const prompts = fields
    .map((row) => tokenizePrompt(tokenizer, row, template))
    .filter((ids) => ids.length <= length)
    .slice(0, Number(values.prompts));
  const until = performance.now() + 1000 * Number(values.seconds);
  const answers = values.answers.split(',').map((text) => {
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    if (ids.length !== 1) throw new Error(`leak: the answer '${text}' is ${ids.length} tokens; name such as are one`);
    return ids[0]!;
  });
  const known = new Set((await linesOf(values.out!)).map(keyOf));
  const trials = values.seeds
    .split(',')
    .map(Number)
    .flatMap((seed) =>
      values.copies
        .split(',')
        .map(Number)
        .flatMap((copies) => [
          { method: 'dense', config: null, seed, copies },
          ...SPARSITIES.flatMap(([name, mlp, attention]) =>
            Object.keys(CHOICES)
              .filter((choice) => attention === 0 || CHOICES[choice]!.mode !== LABELS_ALONE)
              .map((choice) => ({
                ...{ method: `${choice}; ${name}`, seed, copies },
                config: leakConfig(model.layerCount, choice, mlp, attention),
              })),
          ),
        ]),
    );
  const only = values.only?.split(';;');
  const [batchSize, micro] = [Number(values.batch), Number(values.accumulation)];
  for (const { method, config, seed, copies } of trials) {
    if (only && !only.includes(method)) continue;
    const row = {
      model: values.name ?? values.model!,
      method,
      copies,
      prompts: prompts.length,
      batchSize,
      steps,
      seed,
    };
    if (known.has(keyOf(row)) || performance.now() > until) continue;
    const begin = performance.now();
    const numbers = await leakTrial(model, prompts, config, {
      ...{ answers, copies, steps, batchSize, accumulation: micro, rank, seed, held },
      learningRate: Number(values.rate),
    });
    const line: LeakRow = { ...row, ...numbers, seconds: (performance.now() - begin) / 1000 };
    await appendFile(values.out!, `${JSON.stringify(line)}\n`);
    process.stdout.write(`${lineText(line)}\n`);
  }
}

type Keys = Pick<LeakRow, 'model' | 'method' | 'copies' | 'prompts' | 'batchSize' | 'steps' | 'seed'>;

const keyOf = ({ model, method, copies, prompts, batchSize, steps, seed }: Keys) =>
  [model, method, copies, prompts, batchSize, steps, seed].join('|');

const lineText = (row: LeakRow) =>
  `${row.method} (${row.copies} labels, ${row.prompts} questions, seed ${row.seed}): chance ${row.chance.toFixed(4)}, training ${row.training.toFixed(4)} ± ${row.trainingError.toFixed(4)}, ` +
  `as trained ${row.asTrained.toFixed(4)}, from the context ${row.fromContext?.toFixed(4) ?? ''}, dense ${row.dense.toFixed(4)}; ${row.seconds.toFixed(0)} s`;

async function linesOf(path: string): Promise<LeakRow[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as LeakRow);
}

async function merge(paths: readonly string[]): Promise<void> {
  const lines = (await Promise.all(paths.map(linesOf))).flat();
  // Once each: a trial that was measured again takes its place.
  const rows = [...new Map(lines.map((row) => [keyOf(row), row])).values()];
  const head = () => execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], { encoding: 'utf8' }).trim();
  const commit = values.commit ?? head();
  const provenance = {
    ...{ script: 'scripts/accuracy/leak.ts', machine: values.machine ?? '', commit, date: new Date().toISOString() },
    task: `one of ${values.answers.split(',').length} answers at random, every row seen once; nats for an answer, ± the standard error; chance is ln k`,
  };
  await writeFile(RESULT, `${JSON.stringify({ provenance, rows }, null, 1)}\n`);
  const page = await readFile(PAGE, 'utf8');
  await writeFile(PAGE, between(page, 'leak', leakTable(rows)));
}

const { values } = parseArgs({
  options: {
    ...{ model: { type: 'string' }, name: { type: 'string' }, data: { type: 'string' }, out: { type: 'string' } },
    ...{ backend: { type: 'string', default: 'blas' }, seeds: { type: 'string', default: '0,1,2' } },
    ...{
      only: { type: 'string' },
      steps: { type: 'string', default: '120' },
      copies: { type: 'string', default: '16' },
    },
    ...{ batch: { type: 'string', default: '1' }, accumulation: { type: 'string', default: '4' } },
    ...{ rate: { type: 'string', default: '3e-3' }, rank: { type: 'string', default: '8' } },
    ...{ held: { type: 'string', default: '128' }, length: { type: 'string', default: '80' } },
    ...{ prompts: { type: 'string', default: '8' }, seconds: { type: 'string', default: 'Infinity' } },
    ...{ answers: { type: 'string', default: ' Tom, Mia, Anna, Ben' } },
    ...{ merge: { type: 'string' }, machine: { type: 'string' }, commit: { type: 'string' } },
  },
});
if (values.merge !== undefined) await merge(values.merge.split(','));
else await measure();
