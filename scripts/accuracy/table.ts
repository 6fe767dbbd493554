/**
 * @file The study's main comparison. `table`: every method, trained as LoRA is best and so long that it has learnt. `frontier`: the recommended plan and LoRA with fewer
 * steps at other shares of LoRA's arithmetic, over the same seeds: what sparsity is to be held against. `times`: the table's runs again for their time alone, one at a
 * time on a GPU of their own.
 */
import { type Job, PAPER_SCORES, type SparsityKeys, type SparsitySpec, type TrainingSpec } from './job-types.js';

type StudyTask = 'math' | 'csr';
type Row = Omit<Job, 'seed'>;
type Plan = SparsitySpec & { readonly kind: 'plan' };

export const NONE: SparsitySpec = { kind: 'none' };
export const COMMON = { trains: true, peft: 'lora', sparsity: NONE, method: 'base', estimator: 'none' } as const;
const TASKS: readonly StudyTask[] = ['math', 'csr'];

/** Shares of LoRA's FLOPs that are tried, the first that can be met is taken. */
export const BUDGETS = { math: [0.8, 0.85, 0.9], csr: [0.6, 0.65, 0.7, 0.75, 0.8] } as const;
/** Of LoRA's FLOPs, what a run is to take. */
export const BUDGET_SHARE = { math: 0.8, csr: 0.6 } as const;
/** Steps of a run, about two epochs of math. */
export const FINAL_STEPS = { math: 450, csr: 375 } as const;

/** LoRA's best: found by trying rates and schedules. */
const trainingOf = (task: StudyTask): TrainingSpec & { steps: number } => ({
  ...{ steps: FINAL_STEPS[task], learningRate: 2e-3 },
});

/** The paper's own preset of a task, channels chosen as it chooses them. */
export const asPaper = (task: StudyTask): SparsitySpec => ({
  ...{ kind: 'paper', mlp: task === 'math' ? 0.99 : 0.97, attention: 0.75, keys: PAPER_SCORES },
});

/**
 * As docs/ACCURACY.md has users plan: the last steps dense, so many that what is left of the budget is met by MLPs alone without a dense tail, and what is dropped
 * replaced by maps of the data.
 */
const KEYS: Readonly<Record<StudyTask, SparsityKeys>> = {
  math: { end_step: 0.75, compensation_rank: 128 },
  csr: { end_step: 0.8, compensation_rank: 128 },
};
const plan = (task: StudyTask, estimator: string, more: SparsityKeys = {}): Plan => ({
  ...{ kind: 'plan', estimator, flops: [BUDGET_SHARE[task]], tails: [0], keys: { ...KEYS[task], ...more } },
});

/** Which rows come while a run is sparse differs by seed, so it aims so much below what it may take. */
const MARGIN = 0.003;

const shareName = (share: number) => `${Math.round(100 * share)} %`;

/** LoRA with so many fewer steps that it takes that share. */
function shorter(task: StudyTask, share: number): Row {
  const training = trainingOf(task);
  return {
    ...{ ...COMMON, method: `LoRA, ${shareName(share)} of the steps`, task, flops: share },
    training: { ...training, steps: Math.round(share * training.steps) },
  };
}

function tableRows(task: StudyTask): Row[] {
  const share = BUDGET_SHARE[task];
  const row = (method: string, more: Partial<Row> = {}): Row => ({
    ...{ ...COMMON, method, task, training: trainingOf(task) },
    ...more,
  });
  const planned = (estimator: string, sparsity: Plan) =>
    row('SparseLoRA, planned', { estimator, sparsity, budget: share - MARGIN });
  return [
    row('LoRA'),
    planned('calibrated_8', plan(task, 'calibrated_8')),
    shorter(task, share),
    row('SparseLoRA as the paper', { estimator: 'svd_8', sparsity: asPaper(task) }),
    row('DoRA', { peft: 'dora' }),
    planned('svd_8', plan(task, 'svd_8')),
    // The plan of calibrated_8: channels alone are chosen otherwise.
    planned('random', plan(task, 'calibrated_8', { mode: 'random' })),
    row('SparseLoRA, planned, sparse to the end, nothing compensated', {
      ...{ estimator: 'calibrated_8', sparsity: { kind: 'plan', estimator: 'calibrated_8', flops: BUDGETS[task] } },
    }),
  ];
}

export function tableJobs(seeds: readonly number[]): Job[] {
  const bases: Job[] = TASKS.map((task) => ({ ...COMMON, task, seed: 0, trains: false }));
  const rows = TASKS.flatMap(tableRows);
  return [...seeds.flatMap((seed) => rows.map((row) => ({ ...row, seed }))), ...bases];
}

/** Besides the table's own budget; the lowest is what every module of the plan comes to with hardly a dense step. */
const FRONTIER = { math: [0.75, 0.9], csr: [0.55, 0.8] } as const;

/** Of a step, elsewhere. */
const ROWS = 16;
const FEWER_ROWS = 12;

/** Steps of so many rows that take a share of what all of LoRA's take. */
const stepsOf = (task: StudyTask, share: number, rows: number) => Math.round((share * FINAL_STEPS[task] * ROWS) / rows);

/** A share spent on more steps of three quarters of the rows. */
function smaller(task: StudyTask, share: number): Row {
  const rows = FEWER_ROWS;
  return {
    ...{ ...COMMON, method: `LoRA, ${rows} rows a step, ${shareName(share)}`, task, flops: share },
    training: { ...trainingOf(task), steps: stepsOf(task, share, rows), batchSize: rows },
  };
}

/** Of what fewer steps leave of LoRA's arithmetic a plan takes this share: the first sparse steps cost the least accuracy. */
const PLANNED_SHARE = 0.9;

/** The table's budget by both: fewer steps than LoRA's, and some of them sparse. */
function shorterAndSparse(task: StudyTask, rows: number): Row {
  const flops = BUDGET_SHARE[task] / PLANNED_SHARE;
  const name = rows === ROWS ? 'fewer steps' : `${rows} rows a step`;
  return {
    ...{ ...COMMON, method: `SparseLoRA, planned for ${shareName(PLANNED_SHARE)}, ${name}`, task, flops },
    ...{ estimator: 'calibrated_8', sparsity: plan(task, 'calibrated_8'), budget: PLANNED_SHARE - MARGIN },
    training: { ...trainingOf(task), steps: stepsOf(task, flops, rows), batchSize: rows },
  };
}

/** The table's plan, of which the dense end is shorter or longer, and LoRA with as much arithmetic. */
export function frontierJobs(seeds: readonly number[]): Job[] {
  const rows = TASKS.flatMap((task) => [
    ...[BUDGET_SHARE[task], 1].map((share) => smaller(task, share)),
    ...[ROWS, FEWER_ROWS].map((rows) => shorterAndSparse(task, rows)),
    ...FRONTIER[task].flatMap((share): Row[] => [
      shorter(task, share),
      {
        ...{ ...COMMON, method: `SparseLoRA, planned, ${shareName(share)}`, estimator: 'calibrated_8', task },
        ...{ sparsity: plan(task, 'calibrated_8'), budget: share - MARGIN, training: trainingOf(task) },
      },
    ]),
  ]);
  return seeds.flatMap((seed) => rows.map((row) => ({ ...row, seed })));
}

/** Of the first seed; to be run by `--jobs 1`, and without answers. What LoRA with fewer steps takes a step is known. */
export function timesJobs([seed = 0]: readonly number[]): Job[] {
  const isTimed = ({ method, sparsity }: Row) =>
    !/^LoRA, /.test(method) && !(sparsity.kind === 'plan' && sparsity.keys === undefined);
  return TASKS.flatMap(tableRows)
    .filter(isTimed)
    .map((row) => ({ ...row, seed, asks: false }));
}
