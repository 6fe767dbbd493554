/** @file What the study compares: methods, their sparsity, tasks; and the order in which it runs them, the most needed first. */

export type TaskName = 'math' | 'csr' | 'random-answers';

/** A sparsity file by what it is made of. */
export type SparsitySpec =
  | { readonly kind: 'none' }
  /** As the paper's presets: MLPs of layers 3 to the last but one, attention in the upper half. */
  | { readonly kind: 'paper'; readonly mlp: number; readonly attention: number; readonly keys?: SparsityKeys }
  /** By `spft sparsity plan`, the first of the budgets that can be met. */
  | {
      readonly kind: 'plan';
      readonly estimator: string;
      readonly flops: readonly number[];
      readonly keys?: SparsityKeys;
    };

/** Further keys of the sparsity file. */
export type SparsityKeys = Readonly<Record<string, string | number | boolean>>;

export interface Job {
  /** Of the row that it counts for. */
  readonly method: string;
  readonly estimator: string;
  readonly task: TaskName;
  readonly seed: number;
  readonly peft: 'lora' | 'dora' | 'qlora';
  readonly sparsity: SparsitySpec;
  /** False: the base as it is. */
  readonly trains: boolean;
}

const NONE: SparsitySpec = { kind: 'none' };
const BUDGETS = { math: [0.8, 0.85, 0.9], csr: [0.6, 0.65, 0.7, 0.75, 0.8] } as const;
/** A step further, for the frontier. */
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
      sparsity: { kind: 'paper', mlp: task === 'math' ? 0.99 : 0.97, attention: 0.75 },
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

/** One thing changed at a time, from `calibrated_8`, MLPs of layers 3 to 28 at 0.9, and 16 dense tail tokens. */
const ABLATIONS: readonly (readonly [name: string, keys: SparsityKeys])[] = [
  ['MLP 0.9', {}],
  ['no dense tail', { skip_tail_tokens: 0 }],
  ['the predicting row dense', { skip_tail_tokens: 1 }],
  ['tail of 32', { skip_tail_tokens: 32 }],
  ['random dense tokens', { skip_tail_tokens: 0, skip_random_tokens: true }],
  ["the original's rectangle and defects", { skip_tail_tokens: 0, compat: 'reference' }],
  ['gradient cut', { gradient: 'cut' }],
  ['gradient straight through', { gradient: 'straight_through' }],
  ['every fourth step dense', { dense_every: 4 }],
  ['last tenth dense', { end_step: 0.9 }],
  ['svd_8', { mode: 'svd_8' }],
  ['static', { mode: 'static' }],
  ['calibrated_8_static', { mode: 'calibrated_8_static' }],
  ['scores from every context token', { score_tokens: 0 }],
  ['scores from all tokens', { score_tokens: 0, score_context_tokens: false }],
  ['kept sets for 8 steps', { selection_interval: 8 }],
];

/** On answers that are random: whose training loss falls below chance, sees the labels. */
const LEAKS: readonly (readonly [name: string, keys: SparsityKeys])[] = [
  ['random answers: LoRA', {}],
  ['random answers: scores from context tokens', { score_tokens: 0, score_context_tokens: true }],
  ['random answers: scores from all tokens', { score_tokens: 0, score_context_tokens: false }],
];

/** All of it, by need: a first seed of everything, further seeds of the main rows, then what explains them. */
export function studyJobs(seeds: readonly number[]): Job[] {
  const common = { trains: true, peft: 'lora', sparsity: NONE, method: 'base', estimator: 'none' } as const;
  const bases: Job[] = (['math', 'csr'] as const).map((task) => ({ ...common, task, seed: 0, trains: false }));
  const main = (seed: number): Job[] =>
    (['math', 'csr'] as const).flatMap((task) => rowsOf(task).map((row) => ({ ...common, ...row, task, seed })));
  const paper = (keys: SparsityKeys): SparsitySpec => ({
    ...{ kind: 'paper', mlp: 0.9, attention: 0 },
    keys: { mode: 'calibrated_8', skip_tail_tokens: 16, ...keys },
  });
  const ablations = (seed: number): Job[] =>
    ABLATIONS.map(([name, keys]) => ({
      ...{ ...common, method: `ablation: ${name}`, task: 'math', seed },
      ...{ estimator: String(keys.mode ?? 'calibrated_8'), sparsity: paper(keys) },
    }));
  const leaks: Job[] = LEAKS.map(([method, keys]) => ({
    ...{ ...common, method, task: 'random-answers', seed: 0 },
    ...(Object.keys(keys).length > 0
      ? { estimator: 'calibrated_8', sparsity: paper({ ...keys, skip_tail_tokens: 0 }) }
      : {}),
  }));
  const [first = 0, ...others] = seeds;
  return [...bases, ...main(first), ...others.flatMap(main), ...leaks, ...seeds.flatMap(ablations)];
}

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
    ...[...sparse!, ...dense!].map((row) => ({ ...row, task: 'math', trains: true }) as const),
    ...bases.map((row) => ({ ...row, task: 'math', trains: false }) as const),
  ];
}

/** Names a job among all, and its files. */
export function jobKey({ method, estimator, task, seed }: Job): string {
  return `${task}-${method}-${estimator}-${seed}`.toLowerCase().replace(/[^a-z0-9.]+/g, '-');
}

/** A sparsity file of the paper's shape for a model of so many layers. */
export function paperFile({ mlp, attention, keys }: SparsitySpec & { kind: 'paper' }, layerCount: number): string {
  const lines = Object.entries({ mode: 'svd_8', skip_output_tokens: true, ...keys }).map(([k, v]) => `${k}: ${v}`);
  lines.push('sparsity:');
  for (let n = 0; n < layerCount; n++) {
    const inside = n >= 3 && n <= layerCount - 2;
    lines.push(`  layers.${n}.mlp: ${inside ? mlp : 0}`);
    lines.push(`  layers.${n}.self_attn: ${inside && n >= layerCount / 2 - 1 ? attention : 0}`);
  }
  return `${lines.join('\n')}\n`;
}
