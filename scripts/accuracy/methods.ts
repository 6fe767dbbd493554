/**
 * @file What the study compares beside its table (table.ts) and the ways of screen.ts, and the order in which it runs them, the most needed first: `rows`, all methods in shorter runs;
 * `ablations`, which change one thing at a time; `final`, what looked best within one budget and the best of these over seeds; `qlora`, weights in four bits.
 */
import {
  type Job,
  PAPER_SCORES,
  type PaperSpec,
  type PartName,
  type SparsityKeys,
  type SparsitySpec,
  type TrainingSpec,
} from './job-types.js';
import { screenJobs } from './screen.js';
import {
  asPaper,
  BUDGET_SHARE,
  BUDGETS,
  COMMON,
  FINAL_STEPS,
  frontierJobs,
  NONE,
  tableJobs,
  timesJobs,
} from './table.js';

/** Budgets tighter than the table's. */
const TIGHT = { math: [0.7, 0.75], csr: [0.5, 0.55] } as const;

type Row = Pick<Job, 'method' | 'estimator' | 'peft' | 'sparsity'>;

function rowsOf(task: 'math' | 'csr'): Row[] {
  const plan = (estimator: string, flops: readonly number[], keys?: SparsityKeys): SparsitySpec => ({
    ...{ kind: 'plan', estimator, flops },
    ...(keys ? { keys } : {}),
  });
  return [
    { method: 'LoRA', estimator: 'none', peft: 'lora', sparsity: NONE },
    {
      method: 'SparseLoRA, planned',
      estimator: 'calibrated_8',
      peft: 'lora',
      sparsity: plan('calibrated_8', BUDGETS[task]),
    },
    { method: 'SparseLoRA, planned', estimator: 'svd_8', peft: 'lora', sparsity: plan('svd_8', BUDGETS[task]) },
    {
      ...{ method: 'SparseLoRA as the paper', estimator: 'svd_8', peft: 'lora' },
      sparsity: asPaper(task),
    },
    {
      ...{ method: 'SparseLoRA, planned', estimator: 'random', peft: 'lora' },
      sparsity: plan('calibrated_8', BUDGETS[task], { mode: 'random' }),
    },
    { method: 'DoRA', estimator: 'none', peft: 'dora', sparsity: NONE },
    {
      method: 'SparseLoRA, planned tightly',
      estimator: 'calibrated_8',
      peft: 'lora',
      sparsity: plan('calibrated_8', TIGHT[task]),
    },
  ];
}

interface Ablation {
  readonly name: string;
  readonly keys?: SparsityKeys;
  readonly paper?: Partial<Omit<PaperSpec, 'kind' | 'keys'>>;
  readonly sparsity?: SparsitySpec;
  readonly training?: TrainingSpec;
}

/** Rate and steps at which LoRA itself has learnt what it can: found by the rows `rate …`. */
const RATE = 1e-3;

/** One thing changed at a time, from `calibrated_8`, MLPs of layers 3 to 28 at 0.9, and 16 dense tail tokens. */
const ABLATIONS: readonly Ablation[] = [
  { name: 'LoRA', sparsity: NONE },
  { name: 'MLP 0.9' },
  { name: 'last tenth dense', keys: { end_step: 0.9 } },
  { name: 'last three tenths dense', keys: { end_step: 0.7 } },
  { name: 'no dense tail', keys: { skip_tail_tokens: 0 } },
  { name: 'tail of 32', keys: { skip_tail_tokens: 32 } },
  { name: 'svd_8', keys: { mode: 'svd_8', ...PAPER_SCORES } },
  { name: 'gradient cut', keys: { gradient: 'cut' } },
  { name: 'gradient straight through', keys: { gradient: 'straight_through' } },
  { name: 'layers 10 to 28', paper: { from: 10 } },
  { name: 'layers 15 to 28 at 0.97, attention 0.5', paper: { from: 15, mlp: 0.97, attention: 0.5 } },
  {
    name: 'planned for 80 % with the last tenth dense',
    sparsity: { kind: 'plan', estimator: 'calibrated_8', flops: [0.8, 0.83], keys: { end_step: 0.9 } },
  },
  { name: 'planned for 80 %', sparsity: { kind: 'plan', estimator: 'calibrated_8', flops: [0.8, 0.83] } },
  { name: 'rate 5e-4, LoRA', sparsity: NONE, training: { learningRate: 5e-4 } },
  { name: 'rate 2e-3, LoRA', sparsity: NONE, training: { learningRate: 2e-3 } },
  { name: 'rate 5e-4, MLP 0.9', training: { learningRate: 5e-4 } },
  { name: 'rate 2e-3, MLP 0.9', training: { learningRate: 2e-3 } },
  { name: 'MLP 0.75', paper: { mlp: 0.75 } },
  { name: 'first tenth dense', keys: { start_step: 0.1 } },
  { name: 'MLP 0.5', paper: { mlp: 0.5 } },
  { name: 'tail of 8', keys: { skip_tail_tokens: 8 } },
  { name: 'the predicting row dense', keys: { skip_tail_tokens: 1 } },
  { name: "the original's rectangle and defects", keys: { skip_tail_tokens: 0, compat: 'reference' } },
  { name: 'random dense tokens', keys: { skip_tail_tokens: 0, skip_random_tokens: true } },
  { name: 'static', keys: { mode: 'static' } },
  { name: 'scores from every context token', keys: { score_tokens: 0 } },
  { name: 'scores from all tokens', keys: { score_tokens: 0, score_context_tokens: false } },
  { name: 'calibrated_8_static', keys: { mode: 'calibrated_8_static' } },
  { name: 'calibrated_32', keys: { mode: 'calibrated_32' } },
  { name: 'every fourth step dense', keys: { dense_every: 4 } },
  { name: 'attention 0.5 too', paper: { attention: 0.5 } },
  { name: 'half of the steps: LoRA', sparsity: NONE, training: { steps: 300 } },
  { name: 'half of the steps: MLP 0.9', training: { steps: 300 } },
  { name: 'kept sets for 8 steps', keys: { selection_interval: 8 } },
];

/**
 * On answers that are random: whose training loss falls below chance, sees the labels. One sequence a step and no row twice, which is where
 * a choice of channels could tell the most of its labels.
 */
const LEAKS: readonly (readonly [name: string, keys: SparsityKeys])[] = [
  ['random answers: LoRA', {}],
  ['random answers: scores from context tokens', { score_tokens: 0, score_context_tokens: true }],
  ['random answers: scores from all tokens', { score_tokens: 0, score_context_tokens: false }],
  ['random answers: scores from the mean of all tokens', { mode: 'svd_8', ...PAPER_SCORES }],
];
const LEAK_TRAINING: TrainingSpec = { steps: 1500, batchSize: 1, learningRate: 5e-4 };

/**
 * Ways to spend 80 % of LoRA's arithmetic on math, 60 % on commonsense: a sparse step takes a share s of a dense one's, so a share (budget − s) / (1 − s) of the
 * steps can be dense. At the end, where the rate falls: what was learnt from a sparse context is made to hold for a dense one; or also at the begin.
 */
interface Candidate {
  readonly name: string;
  readonly mlp: number;
  readonly attention: number;
  readonly tail: number;
  /** Share of steps that are dense. */
  readonly dense: Readonly<Record<'math' | 'csr', number>>;
  /** Of these, how many are the first. */
  readonly first?: number;
}

const CANDIDATES: readonly Candidate[] = [
  { name: 'MLP 0.9, tail of 8', mlp: 0.9, attention: 0, tail: 8, dense: { math: 0.18, csr: 0.1 } },
  {
    name: 'MLP 0.97, attention 0.5, tail of 8',
    mlp: 0.97,
    attention: 0.5,
    tail: 8,
    dense: { math: 0.305, csr: 0.245 },
  },
  { name: 'MLP 0.99, attention 0.75', mlp: 0.99, attention: 0.75, tail: 0, dense: { math: 0.425, csr: 0.355 } },
  {
    name: 'MLP 0.9, tail of 8, both ends',
    mlp: 0.9,
    attention: 0,
    tail: 8,
    dense: { math: 0.18, csr: 0.1 },
    first: 0.5,
  },
  { name: 'MLP 0.9', mlp: 0.9, attention: 0, tail: 0, dense: { math: 0.275, csr: 0.185 } },
];
/** A rate that is kept up, and falls over the last steps: so many as are dense at the end. */
function decaying(task: 'math' | 'csr', share: number): TrainingSpec {
  const steps = FINAL_STEPS[task];
  const kwargs = `num_decay_steps=${Math.round(share * steps)}`;
  const keys = { lr_scheduler_type: 'warmup_stable_decay', lr_scheduler_kwargs: kwargs };
  return { steps, learningRate: 1.5e-3, keys };
}

/** What the candidate's runs are made of, on a task. */
export function candidateSpec(name: string, task: 'math' | 'csr'): Pick<Job, 'sparsity' | 'training'> {
  const found = CANDIDATES.find((one) => one.name === name);
  if (!found) throw new Error(`study: no candidate '${name}'`);
  const { mlp, attention, tail, dense, first = 0 } = found;
  const last = dense[task] * (1 - first);
  const keys = { start_step: dense[task] * first, end_step: 1 - last, mode: 'calibrated_8', skip_tail_tokens: tail };
  return { sparsity: { kind: 'paper', mlp, attention, keys }, training: decaying(task, last) };
}

/** The best of some results within the budget: the most answers right, less what the loss is above the least; the loss decides little. */
export function bestCandidate(
  results: readonly { readonly name: string; readonly right: number; readonly loss: number }[],
): string {
  const least = Math.min(...results.map(({ loss }) => loss));
  const worth = ({ right, loss }: (typeof results)[number]) => right - Math.max(0, loss / least - 1.01);
  return results.reduce((a, b) => (worth(b) > worth(a) ? b : a)).name;
}

function finalJobs(seeds: readonly number[]): Job[] {
  const [first = 0, ...others] = seeds;
  const cosine = (steps: number): TrainingSpec => ({ steps, learningRate: 2e-3 });
  const dense = (task: 'math' | 'csr', seed: number, more: Partial<Job> = {}): Job => ({
    ...{ ...COMMON, method: 'LoRA', task, seed, training: cosine(FINAL_STEPS[task]) },
    ...more,
  });
  /** What fewer steps would have come to, of the same arithmetic. */
  const shorter = (task: 'math' | 'csr', seed: number) => {
    const share = BUDGET_SHARE[task];
    const method = `LoRA, ${100 * share} % of the steps`;
    return dense(task, seed, { method, training: cosine(Math.round(share * FINAL_STEPS[task])) });
  };
  const candidates = CANDIDATES.map(
    ({ name }): Job => ({
      ...{ ...COMMON, method: `SparseLoRA: ${name}`, estimator: 'calibrated_8', task: 'math', seed: first },
      ...{ ...candidateSpec(name, 'math'), candidate: name },
    }),
  );
  const best = (task: 'math' | 'csr', seed: number, more: Partial<Job> = {}): Job => ({
    ...{ ...COMMON, method: 'SparseLoRA, the best', estimator: 'calibrated_8', task, seed },
    ...{ sparsity: { kind: 'best' }, ...more },
  });
  const quantised = (seed: number): Job[] => [
    best('math', seed, { method: 'SparseQLoRA, the best', peft: 'qlora' }),
    dense('math', seed, { method: 'QLoRA', peft: 'qlora' }),
  ];
  return [
    dense('math', first),
    ...candidates,
    ...others.flatMap((seed) => [dense('math', seed), best('math', seed)]),
    ...quantised(first),
    shorter('math', first),
    ...others.flatMap(quantised),
    dense('csr', first),
    best('csr', first),
    ...others.map((seed) => shorter('math', seed)),
    dense('math', first, { method: 'LoRA, a rate that falls at the end', training: decaying('math', 0.2) }),
    ...others.flatMap((seed) => [dense('csr', seed), best('csr', seed)]),
  ];
}

function rowJobs(seeds: readonly number[]): Job[] {
  const bases: Job[] = (['math', 'csr'] as const).map((task) => ({ ...COMMON, task, seed: 0, trains: false }));
  const main = (seed: number): Job[] =>
    (['math', 'csr'] as const).flatMap((task) => rowsOf(task).map((row) => ({ ...COMMON, ...row, task, seed })));
  return [...bases, ...seeds.flatMap(main)];
}

function ablationJobs(seeds: readonly number[]): Job[] {
  const ablation = ({ name, keys = {}, paper = {}, sparsity, training = {} }: Ablation, seed: number): Job => {
    const spec: SparsitySpec = sparsity ?? {
      ...{ kind: 'paper', mlp: 0.9, attention: 0, ...paper },
      keys: { mode: 'calibrated_8', skip_tail_tokens: 16, ...keys },
    };
    const estimator = spec.kind === 'none' ? 'none' : String(keys.mode ?? 'calibrated_8');
    return {
      ...{ ...COMMON, method: `ablation: ${name}`, task: 'math', seed, estimator, sparsity: spec },
      training: { learningRate: RATE, ...training },
    };
  };
  const leak = ([method, keys]: (typeof LEAKS)[number], seed: number): Job => ({
    ...{ ...COMMON, method, task: 'random-answers', seed, training: LEAK_TRAINING },
    ...(Object.keys(keys).length > 0 && {
      estimator: String(keys.mode ?? 'calibrated_8'),
      sparsity: { kind: 'paper', mlp: 0.9, attention: 0, keys: { mode: 'calibrated_8', ...keys } },
    }),
  });
  return seeds.flatMap((seed) => [
    ...ABLATIONS.map((one) => ablation(one, seed)),
    ...LEAKS.map((one) => leak(one, seed)),
  ]);
}

/** All of a part by need: a first seed of everything, then further ones. */
export function studyJobs(seeds: readonly number[], part: PartName = 'rows'): Job[] {
  const made = {
    ...{ rows: rowJobs, ablations: ablationJobs, final: finalJobs, qlora: qloraJobs, screen: screenJobs },
    ...{ table: tableJobs, frontier: frontierJobs, times: timesJobs },
  }[part];
  return made(seeds).map((job) => ({ ...job, part }));
}

const QLORA_TRAINING: TrainingSpec = { steps: 160, learningRate: 5e-4 };

/**
 * LoRA and QLoRA (NF4 with double quantisation), dense and by one and the same plan, and both bases as they are: what four bits of the frozen weights
 * change. Longest first.
 */
export function qloraJobs(seeds: readonly number[]): Job[] {
  const planned: SparsitySpec = { kind: 'plan', estimator: 'calibrated_8', flops: BUDGETS.math };
  const rows: Row[] = (['qlora', 'lora'] as const).flatMap((peft) => {
    const name = peft === 'qlora' ? 'QLoRA' : 'LoRA';
    return [
      { method: `Sparse${name}, planned`, estimator: 'calibrated_8', peft, sparsity: planned },
      { method: name, estimator: 'none', peft, sparsity: NONE },
    ];
  });
  const [sparse, dense] = [0, 1].map((n) =>
    seeds.flatMap((seed) => rows.filter((_, at) => at % 2 === n).map((row) => ({ ...row, seed }))),
  );
  const bases = rows
    .filter(({ sparsity }) => sparsity === NONE)
    .map((row) => ({ ...row, method: row.peft === 'qlora' ? 'base in NF4' : 'base', seed: seeds[0] ?? 0 }));
  return [
    ...[...sparse!, ...dense!].map(
      (row) => ({ ...row, task: 'math', trains: true, training: QLORA_TRAINING }) as const,
    ),
    ...bases.map((row) => ({ ...row, task: 'math', trains: false }) as const),
  ];
}
