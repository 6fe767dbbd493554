/** @file The study's own arithmetic: what counts as an equation, rows over seeds, the page. */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { SpftConfig } from '@spft/config';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { endWithin, sparseStepShare } from '../scripts/accuracy/fit-budget.js';
import { formOf, valueOfExpression } from '../scripts/accuracy/form.js';
import { jobKey, paperFile } from '../scripts/accuracy/job-types.js';
import { rowOf } from '../scripts/accuracy/merge.js';
import { bestCandidate, candidateSpec, qloraJobs, studyJobs } from '../scripts/accuracy/methods.js';
import { methodsTable } from '../scripts/accuracy/methods-table.js';
import { between, tableOf } from '../scripts/accuracy/pages.js';
import { plotOf } from '../scripts/accuracy/plot.js';
import { bestJob, bestOfScreen, screenedOf, screenJobs } from '../scripts/accuracy/screen.js';
import { StepTrace } from '../scripts/accuracy/step-trace.js';

describe('formOf()', () => {
  it('reads an expression, or none', () => {
    expect(valueOfExpression('((22.0-14.0)/4.0)')).toBe(2);
    expect(valueOfExpression('2 + 3*-4')).toBe(-10);
    expect(valueOfExpression('8 / 0')).toBeNull();
    expect(valueOfExpression('(2 + ')).toBeNull();
  });

  it('counts form and content apart', () => {
    const answer = (output: string, expected: string, correct: boolean) => ({
      output,
      expected,
      correct,
      predicted: null,
    });
    const predictions = [
      answer('X=(3+4)\nThe answer is 7.', '7', true),
      answer('X=3+4. The answer is 8.', '7', false),
      answer('X=3*4', '7', false),
      answer('She has 3 + 4 = 7. The answer is 7.', '7', true),
    ];
    expect(formOf({ predictions })).toEqual({ questions: 4, equation: 3, rightEquation: 2, rightNumber: 2, right: 3 });
    expect(formOf(undefined)).toBeNull();
  });
});

describe('StepTrace', () => {
  it('says how each step was done, and what those by a recording take where all of a window are', async () => {
    await tf.setBackend('cpu');
    const counts = { replayed: 0, plain: 0, recorded: 0, live: 0 };
    /** The first step of a key is watched, the second recorded, as on a GPU. */
    const seen = new Map<string, number>();
    const recorder = {
      counts,
      run(key: string) {
        const before = seen.get(key) ?? 0;
        seen.set(key, before + 1);
        if (before === 0) counts.plain++;
        else counts.replayed++;
        if (before === 1) counts.recorded++;
        return [];
      },
      dispose() {},
    };
    const backend = tf.backend() as unknown as { recordSteps?: () => unknown };
    backend.recordSteps = () => Object.defineProperty({ ...recorder }, 'counts', { get: () => ({ ...counts }) });
    let sparse = true;
    const trace = new StepTrace(() => sparse);
    const made = backend.recordSteps!() as typeof recorder;
    delete backend.recordSteps;
    const keys = ['a', 'a', 'a', 'a', 'a', 'a', 'b', null, 'a'];
    keys.forEach((key, n) => {
      sparse = n < 6;
      trace.onStepBegin();
      if (key !== null) made.run(key);
      trace.onStepEnd();
    });
    trace.finish([9, 9, 9, 0.008, 0.008, 0.008, 3, 3, 3]);
    const { kinds, replayed, shapes, median } = trace.summary(3);
    expect(Object.entries(kinds).map(([kind, { steps }]) => [kind, steps])).toEqual([
      ['sparse watched', 1],
      ['sparse recorded', 1],
      ['sparse replayed', 4],
      ['dense watched', 1],
      ['dense host', 1],
      ['dense replayed', 1],
    ]);
    expect(replayed).toEqual({ 'sparse replayed': { ms: 8, windows: 1 } });
    expect([shapes, median]).toEqual([2, 3000]);
    expect(trace.lines[7]).toMatch(/^7 host -1 dense 0.00 [0-9.]+ 3000.00$/);
  });
});

describe('the study', () => {
  const line = (seed: number, accuracy: number) => ({
    ...{
      method: 'LoRA',
      estimator: 'none',
      task: 'math',
      seed,
      accuracies: { mawps: accuracy },
      majority: { mawps: 0.05 },
    },
    ...{ form: null, flopsShare: 1, secondsPerStep: 0.1, trainLoss: 1, lastTrainLoss: 0.5, denseHeldOutLoss: 0.6 },
    ...{ sparseHeldOutLoss: null, steps: 9, seconds: 1 },
  });

  it('gives the mean over seeds with its interval', () => {
    const row = rowOf([line(1, 0.4), line(0, 0.3), line(2, 0.5)]);
    expect(row).toMatchObject({ seeds: [0, 1, 2], accuracies: [0.3, 0.4, 0.5] });
    expect(row.mean).toBeCloseTo(0.4, 9);
    expect(row.halfInterval).toBeCloseTo((4.303 * 0.1) / Math.sqrt(3), 6);
    expect(rowOf([line(0, 0.3)]).halfInterval).toBeNull();
  });

  it('takes the best of what fits the budget', () => {
    const results = [
      { name: 'a', right: 0.7, loss: 0.34 },
      { name: 'b', right: 0.72, loss: 0.34 },
      { name: 'c', right: 0.74, loss: 0.4 },
    ];
    expect(bestCandidate(results)).toBe('b');
    const jobs = studyJobs([0, 1, 2], 'final');
    expect(new Set(jobs.map(jobKey)).size).toBe(jobs.length);
    for (const { candidate } of jobs.filter(({ candidate }) => candidate !== undefined)) {
      const { sparsity, training } = candidateSpec(candidate!, 'math');
      const { start_step, end_step } = (sparsity as { keys: Record<string, number> }).keys;
      // The rate falls over as many steps as are dense at the end.
      const decay = Number(training!.keys!.lr_scheduler_kwargs!.replace('num_decay_steps=', ''));
      expect(Math.abs(decay - (1 - end_step!) * training!.steps!)).toBeLessThanOrEqual(0.51);
      expect(start_step).toBeLessThan(0.2);
    }
  });

  it('has each job once, those of the first seed before the others', () => {
    for (const [part, prefix] of [
      ['rows', 'SparseLoRA'],
      ['table', 'SparseLoRA'],
      ['frontier', ''],
      ['ablations', 'ablation'],
    ] as const) {
      const jobs = studyJobs([0, 1, 2], part);
      expect(new Set(jobs.map(jobKey)).size).toBe(jobs.length);
      const second = jobs.findIndex(({ seed }) => seed === 1);
      expect(jobs.slice(0, second).filter(({ method }) => method.startsWith(prefix)).length).toBeGreaterThan(7);
    }
  });

  it("chooses channels by the product's default in the table, and as the paper in its row alone", () => {
    const rows = studyJobs([0], 'table');
    const chosenAsPaper = rows.filter(
      ({ sparsity }) => 'keys' in sparsity && sparsity.keys?.score_context_tokens === false,
    );
    expect(chosenAsPaper.map(({ method, task }) => `${method} ${task}`)).toEqual([
      'SparseLoRA as the paper math',
      'SparseLoRA as the paper csr',
    ]);
    for (const task of ['math', 'csr'] as const) {
      const planned = rows.filter((job) => job.task === task && job.method === 'SparseLoRA, planned');
      expect(planned.map(({ estimator }) => estimator)).toEqual(['calibrated_8', 'svd_8', 'random']);
      const share = task === 'math' ? 0.8 : 0.6;
      // No more than the control takes, LoRA with fewer steps.
      const control = rows.find((job) => job.task === task && job.method.startsWith('LoRA, '));
      expect(control).toMatchObject({ flops: share, training: { steps: share * (task === 'math' ? 450 : 375) } });
      for (const { budget } of planned) expect(budget).toBeLessThan(share);
    }
  });

  it('has LoRA and QLoRA over the same seeds by the same plan, what takes longest first', () => {
    const jobs = qloraJobs([0, 1, 2]);
    expect(new Set(jobs.map(jobKey)).size).toBe(jobs.length);
    const of = (peft: string, kind: string) =>
      jobs.filter((job) => job.peft === peft && job.trains && job.sparsity.kind === kind);
    for (const peft of ['lora', 'qlora']) {
      expect(of(peft, 'none').map(({ seed }) => seed)).toEqual([0, 1, 2]);
      expect(of(peft, 'plan').map(({ seed }) => seed)).toEqual([0, 1, 2]);
    }
    expect(
      new Set(jobs.filter(({ sparsity }) => sparsity.kind === 'plan').map(({ sparsity }) => JSON.stringify(sparsity)))
        .size,
    ).toBe(1);
    expect(jobs.slice(0, 6).every(({ sparsity }) => sparsity.kind === 'plan')).toBe(true);
    expect(jobs.filter(({ trains }) => !trains).map(({ method }) => method)).toEqual(['base in NF4', 'base']);
  });

  it('writes files that a run takes, and replaces what stands between marks alone', () => {
    const file = paperFile({ kind: 'paper', mlp: 0.9, attention: 0.5, keys: { mode: 'static' } }, 6);
    expect(file).toContain('mode: static\n');
    expect(file).not.toContain('score_context_tokens');
    // By the product's own choice, but where the paper's is meant.
    expect(paperFile({ kind: 'paper', mlp: 0.9, attention: 0 }, 6)).toContain('mode: svd_8\n');
    expect(paperFile({ kind: 'paper', mlp: 0.9, attention: 0 }, 6)).not.toContain('score_context_tokens');
    expect(file).toContain('layers.3.mlp: 0.9\n  layers.3.self_attn: 0.5');
    expect(file).toContain('layers.5.mlp: 0\n');
    expect(paperFile({ kind: 'paper', mlp: 0.9, attention: 0, from: 4 }, 8)).toContain('layers.3.mlp: 0\n');
    expect(between('a <!-- x -->old<!-- /x --> b', 'x', 'new')).toBe('a <!-- x -->\n\nnew\n\n<!-- /x --> b');
    expect(() => between('a', 'x', 'new')).toThrow('lacks');
    const rows = [rowOf([line(0, 0.3)])];
    expect(tableOf(rows, 'math')).toContain('| LoRA | none | 1 | 100.0 % | 30.0 | 30.0 |');
  });

  it('shows a frontier by what it takes, and times where they are known', () => {
    const seeds = (method: string, estimator: string, flopsShare: number, accuracies: readonly number[]) =>
      rowOf(accuracies.map((accuracy, seed) => ({ ...line(seed, accuracy), method, estimator, flopsShare })));
    const rows = [
      seeds('LoRA', 'none', 1, [0.3, 0.4]),
      seeds('SparseLoRA, planned', 'calibrated_8', 0.797, [0.25, 0.27]),
      seeds('LoRA, 80 % of the steps', 'none', 0.8, [0.26, 0.28]),
    ];
    const names = (text: string) => text.split('\n').map((row) => row.split(' | ')[0]!.slice(2));
    const byFlops = names(methodsTable(rows, 'math', { byFlops: true })).slice(2);
    expect(byFlops).toEqual(['LoRA, 80 % of the steps', 'SparseLoRA, planned', 'LoRA']);
    const timed = methodsTable(rows, 'math', {
      times: ({ method }) =>
        method === 'LoRA' ? { median: 8.48, mean: 10.21 } : { median: Number.NaN, mean: Number.NaN },
    });
    expect(timed).toMatch(
      /\| LoRA \| none \| 2 \| 100.0 % \| 35.0 \| 35.0 ± 63.5 \| {2}\| 0.6000 ± 0.0000 \| {2}\| 8.5 \| 10.2 \|/,
    );
    expect(timed).toContain('| always the most frequent answer |  |  |  | 5.0 | 5.0 |  |  |  |  |  |');
    // Seed by seed: −0.05 and −0.13, whose interval is that of two, 12.706 · 0.0566 / √2.
    expect(timed).toContain('| 26.0 | 26.0 ± 12.7 | −9.0 ± 50.8 | 0.6000 ± 0.0000 | +0.0 ± 0.0 |');
    // A point in each panel, and those of the legend; series of two points are lines, a lone point is none, nor is one of times.
    const plot = plotOf(rows, () => 9);
    expect(plot.match(/<circle[^>]*#1f5fbf/g)).toHaveLength(2 * 3 + 1);
    expect(plot.match(/fill="none" stroke="#1f5fbf"/g)).toHaveLength(2);
    expect(plot).not.toContain('NaN');
    // What is far from all else does not make the panels small, and is told at their edge.
    const close = [0.7, 0.8, 0.9].map((share, n) =>
      seeds(`LoRA, ${100 * share} % of the steps`, 'none', share, [0.27 + n / 100, 0.272 + n / 100]),
    );
    const far = plotOf([...close, { ...seeds('SparseLoRA as the paper', 'svd_8', 0.65, [0.01]), denseHeldOutLoss: 5 }]);
    expect(far).toContain('>↓ 1.0<');
    expect(far).toContain('>↑ 5.000<');
  });
});

describe('a budget', () => {
  it('ends sparsity where the whole run takes that share', () => {
    // 160 sparse steps at 50 % and 40 dense ones.
    expect(endWithin(0.6, 0.5, { steps: 200 })).toBe(160);
    expect(endWithin(0.6, 0.5, { steps: 200, start: 10 })).toBe(170);
    for (const denseEvery of [6, 10]) {
      const end = endWithin(0.6, 0.5, { steps: 200, denseEvery });
      const sparse = Array.from({ length: end }, (_, step) => step).filter((step) => (step + 1) % denseEvery !== 0);
      expect(sparse.length).toBe(160);
    }
    expect(() => endWithin(0.6, 0.5, { steps: 200, denseEvery: 4 })).toThrow('160 sparse steps are wanted');
    expect(() => endWithin(0.6, 0.7, { steps: 200 })).toThrow('60 % cannot be met');
  });

  it('counts what a sparse step takes', () => {
    const shape = {
      ...{ hiddenSize: 64, intermediateSize: 160, numHiddenLayers: 4, numAttentionHeads: 4, numKeyValueHeads: 2 },
      ...{ headDim: 16, vocabSize: 100 },
    };
    const samples = Array.from({ length: 5 }, (_, n) => ({
      inputIds: Array.from({ length: 40 + n }, (_, t) => t),
      labels: Array.from({ length: 40 + n }, (_, t) => (t < 30 ? -100 : t)),
    }));
    const share = (keys: object) =>
      sparseStepShare(
        shape,
        samples,
        SpftConfig.fromObject({ mode: 'static', skip_output_tokens: true, sparsity: { 'layers.1.mlp': 0.9 }, ...keys }),
        { rank: 4, channelMultiple: 16 },
      );
    expect(share({ sparsity: {} })).toBe(1);
    const [one, two] = [share({}), share({ sparsity: { 'layers.1.mlp': 0.9, 'model.layers.2.mlp': 0.9 } })];
    expect(1 - two).toBeCloseTo(2 * (1 - one), 9);
    expect(share({ skip_tail_tokens: 30 })).toBe(1);
    for (const more of [
      { skip_tail_tokens: 3 },
      { compensation_rank: 8 },
      { mode: 'calibrated_8' },
      { compat: 'reference' },
    ])
      expect(share(more)).toBeGreaterThan(one);
    expect(share({ gradient: 'cut' })).toBeLessThan(one);
  });

  it('has ways with names of their own, and takes the best of those that were screened', () => {
    const jobs = screenJobs([0, 1]);
    expect(new Set(jobs.map(jobKey)).size).toBe(jobs.length);
    const line = (method: string, loss: number, more = {}) => ({
      ...{ part: 'screen', task: 'math', method, budget: 0.8, denseHeldOutLoss: loss, ...more },
    });
    const lines = [
      line('screen: SparseLoRA: cosine', 0.34),
      line('screen: SparseLoRA: static', 0.36),
      line('screen: SparseLoRA: cosine', 0.37),
      line('screen: SparseLoRA: MLP 0.9', 0.33, { task: 'csr', budget: 0.6 }),
      line('screen: SparseLoRA: 90 %', 0.31, { budget: 0.9 }),
      line('SparseLoRA: svd_8', 0.3),
      line('screen: LoRA', 0.3, { budget: undefined }),
    ] as Parameters<typeof screenedOf>[0][];
    const screened = lines.flatMap(screenedOf);
    const chosen = [1, 2].map((best) => bestOfScreen(bestJob('math', best, 1), screened));
    expect(chosen.map(({ method }) => method)).toEqual(['SparseLoRA: cosine', 'SparseLoRA: static']);
    expect(chosen[0]).toMatchObject({ seed: 1, part: 'screen', budget: 0.8 });
    expect(chosen[0]!.asks).toBeUndefined();
    expect(() => bestOfScreen(bestJob('math', 3, 1), screened)).toThrow('2 ways were screened on math');
  });
});

describe('study.sh', () => {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const bundle = 'packages/backend-cuda/.device/bundles/study.mjs';
  const study = (argv: readonly string[], isBundled: boolean) =>
    spawnSync('sh', ['scripts/accuracy/study.sh', ...argv], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, ...(isBundled && { SPFT_STUDY_BUNDLE: bundle }) },
    });

  it('says what is wanted where an argument names nothing', { timeout: 180_000 }, () => {
    const cases: [string[], string][] = [
      [
        ['run', '--what', 'everything', '--model', 'm', '--data', 'd', '--out', 'o'],
        "--what is 'everything', one of rows, ablations",
      ],
      [['merge', '--what', 'everything', '--out', 'o'], "--what is 'everything', one of rows, ablations"],
      [
        ['run', '--sets', 'mawps', '--sedes', '1', '--model', 'm', '--data', 'd', '--out', 'o'],
        "Unknown option '--sedes'",
      ],
      [
        ['run', '--seconds', 'soon', '--model', 'm', '--data', 'd', '--out', 'o'],
        "--seconds is 'soon', a number is wanted",
      ],
    ];
    for (const [n, [argv, message]] of cases.entries()) {
      const { status, stderr } = study(argv, n > 0);
      expect(stderr).toContain(message);
      expect(status).not.toBe(0);
    }
  });
});
