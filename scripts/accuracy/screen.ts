/**
 * @file Ways to spend one budget, each so that a whole run takes that share of LoRA's FLOPs: sparsity ends where it must for that, and the rate falls
 * over the dense steps that are left. Screened by one seed's held-out loss, which is less noisy than answers and takes no generation; the best over seeds.
 */
import { type Job, PAPER_SCORES, type PaperSpec, type SparsityKeys, type TrainingSpec } from './job-types.js';

/** What the name of a way begins with that is screened without answers. */
export const SCREEN = 'screen: ';

const STEPS = { math: 450, csr: 375 } as const;
const BUDGET = { math: 0.8, csr: 0.6 } as const;

interface Way {
  readonly name: string;
  readonly paper?: Partial<Omit<PaperSpec, 'kind' | 'keys'>>;
  /** Budgets of a plan that is taken instead. */
  readonly plan?: Readonly<Record<'math' | 'csr', readonly number[]>>;
  readonly keys?: SparsityKeys;
  readonly training?: TrainingSpec;
  /** 0: sparse to the end. */
  readonly budget?: number;
  readonly sparseEvaluation?: boolean;
}

const COSINE: TrainingSpec = { learningRate: 2e-3 };

const rank = (compensation_rank: number, more: SparsityKeys = {}): SparsityKeys => ({ compensation_rank, ...more });

/** What dropped channels would have given, replaced by a linear estimate of some rank; cosine, as that proved better than a rate that is kept up. */
const COMPENSATED: readonly Way[] = [
  { name: 'compensated 32', keys: rank(32) },
  { name: 'compensated 128', keys: rank(128) },
  { name: 'compensated 128, sparse to the end', keys: rank(128), budget: 0, sparseEvaluation: true },
  { name: 'sparse to the end', budget: 0, sparseEvaluation: true },
  { name: 'tail of 16, sparse to the end', keys: { skip_tail_tokens: 16 }, budget: 0, sparseEvaluation: true },
  { name: 'compensated 128, tail of 8', keys: rank(128, { skip_tail_tokens: 8 }) },
  { name: 'compensated 128, the predicting row dense', keys: rank(128, { skip_tail_tokens: 1 }) },
  { name: 'compensated 32, tail of 16', keys: rank(32, { skip_tail_tokens: 16 }) },
  { name: 'compensated 128, MLP 0.97', keys: rank(128), paper: { mlp: 0.97 } },
  { name: 'compensated 128, MLP 0.97, tail of 8', keys: rank(128, { skip_tail_tokens: 8 }), paper: { mlp: 0.97 } },
  { name: 'compensated 256, MLP 0.99', keys: rank(256), paper: { mlp: 0.99 } },
  { name: 'compensated 256, MLP 0.99, layers 0 to 28', keys: rank(256), paper: { mlp: 0.99, from: 0 } },
  { name: 'compensated 256, MLP 0.9', keys: rank(256) },
  { name: 'compensated 128, svd_8', keys: rank(128, { mode: 'svd_8' }) },
  { name: 'compensated 128, random', keys: rank(128, { mode: 'random' }) },
  { name: 'compensated 128, static', keys: rank(128, { mode: 'static' }) },
  { name: 'compensated 32, every fourth step dense', keys: rank(32, { dense_every: 4 }) },
  { name: 'compensated 128, rate 1.5e-3', keys: rank(128), training: { learningRate: 1.5e-3 } },
  { name: 'compensated 128, rate 3e-3', keys: rank(128), training: { learningRate: 3e-3 } },
  { name: 'compensated 128, half of the labelled tokens sparse', keys: rank(128, { sparse_output_tokens: 0.5 }) },
  { name: 'compensated 128, labelled tokens sparse', keys: rank(128, { sparse_output_tokens: 1 }) },
  { name: 'compensated 128, first tenth dense', keys: rank(128, { start_step: 0.1 }) },
  { name: 'compensated 128, 75 %', keys: rank(128), budget: 0.75 },
  { name: 'compensated 128, 90 %', keys: rank(128), budget: 0.9 },
];

/** As the original by itself: adapters on q, k, v and o, so that none learns from an MLP's few channels what it will do to all of them. */
const ON_ATTENTION: TrainingSpec = { ...COSINE, targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj'] };
/** Plans for a little less than the budget, as the rest is for dense last steps or for compensation. */
const PLANNED = { plan: { math: [0.75, 0.78, 0.8], csr: [0.5, 0.55, 0.6] } };
const ATTENTION: readonly Way[] = [
  { name: 'on attention' },
  { name: 'on attention, compensated 32', keys: rank(32) },
  { name: 'on attention, compensated 128', keys: rank(128) },
  { name: 'on attention, compensated 128, MLP 0.97', keys: rank(128), paper: { mlp: 0.97 } },
  {
    name: 'on attention, compensated 128, sparse to the end',
    ...{ keys: rank(128, { skip_tail_tokens: 8 }), budget: 0, sparseEvaluation: true },
  },
  { name: 'on attention, svd_8', keys: { mode: 'svd_8' } },
  { name: 'on attention, planned', ...PLANNED },
  { name: 'on attention, planned, compensated 128', ...PLANNED, keys: rank(128) },
];

/** From MLPs of layers 3 to 28 at 0.9 by `calibrated_8`, labelled tokens dense, sparse first and dense last, at 2e-3. */
const WAYS: readonly Way[] = [
  { name: 'MLP 0.9' },
  { name: 'rate 1.5e-3', training: { learningRate: 1.5e-3, decay: 0 } },
  { name: 'rate 3e-3', training: { learningRate: 3e-3, decay: 0 } },
  { name: 'cosine', training: COSINE },
  { name: 'cosine, rate 1.5e-3', training: { learningRate: 1.5e-3 } },
  { name: 'cosine, svd_8', keys: { mode: 'svd_8' }, training: COSINE },
  { name: 'cosine, random', keys: { mode: 'random' }, training: COSINE },
  { name: 'cosine, half of the labelled tokens sparse', keys: { sparse_output_tokens: 0.5 }, training: COSINE },
  { name: 'cosine, rate 3e-3', training: { learningRate: 3e-3 } },
  { name: 'a rate that falls over half', training: { learningRate: 2e-3, decay: 0.5 } },
  { name: 'every fourth step dense, cosine', keys: { dense_every: 4 }, training: COSINE },
  { name: 'every fourth step dense', keys: { dense_every: 4 }, training: { learningRate: 2e-3, decay: 0.28 } },
  { name: 'every eighth step dense', keys: { dense_every: 8 } },
  { name: 'first twentieth dense', keys: { start_step: 0.05 } },
  { name: 'the predicting row dense', keys: { skip_tail_tokens: 1 } },
  { name: 'MLP 0.75', paper: { mlp: 0.75 } },
  { name: 'MLP 0.97', paper: { mlp: 0.97 } },
  { name: 'MLP 0.97, tail of 8', paper: { mlp: 0.97 }, keys: { skip_tail_tokens: 8 } },
  { name: 'MLP 0.75 below layer 15, 0.97 above', paper: { mlp: 0.75, upper: [[15, 0.97]] } },
  { name: 'layers 8 to 28 at 0.97', paper: { mlp: 0.97, from: 8 } },
  { name: 'layers 10 to 28 at 0.97, attention 0.5', paper: { mlp: 0.97, from: 10, attention: 0.5 } },
  { name: 'layers 0 to 28', paper: { from: 0 } },
  { name: 'MLP 0.9, attention 0.5', paper: { attention: 0.5 } },
  { name: 'static', keys: { mode: 'static' } },
  { name: 'svd_8', keys: { mode: 'svd_8', ...PAPER_SCORES } },
  { name: 'random', keys: { mode: 'random' } },
  { name: 'gradient cut', keys: { gradient: 'cut' } },
  { name: 'kept sets for 8 steps', keys: { selection_interval: 8 } },
  { name: 'half of the labelled tokens sparse', keys: { sparse_output_tokens: 0.5 } },
  { name: 'as the paper, then dense', paper: { mlp: 0.99, attention: 0.75 }, keys: { mode: 'svd_8', ...PAPER_SCORES } },
  { name: 'MLP 0.99, attention 0.75', paper: { mlp: 0.99, attention: 0.75 } },
  { name: "the original's rectangle", paper: { mlp: 0.99, attention: 0.75 }, keys: { compat: 'reference' } },
  ...ATTENTION.map((way): Way => ({ training: ON_ATTENTION, ...way })),
  ...COMPENSATED.map((way): Way => ({ training: COSINE, ...way })),
  { name: '85 %', budget: 0.85 },
  { name: '90 %', budget: 0.9 },
  { name: '75 %', budget: 0.75 },
];

interface Dense {
  readonly name: string;
  /** `share`: of the steps. */
  readonly training: TrainingSpec & { readonly share?: number };
  readonly flops: number;
}

/** Of the same arithmetic, or all of it, without any sparsity: what the above has to be held against. */
const DENSE: readonly Dense[] = [
  { name: 'LoRA, 80 % of the steps', training: { ...COSINE, share: 0.8 }, flops: 0.8 },
  { name: 'LoRA on attention', training: ON_ATTENTION, flops: 1 },
  { name: 'LoRA on attention, 80 % of the steps', training: { ...ON_ATTENTION, share: 0.8 }, flops: 0.8 },
  { name: 'LoRA on attention, 60 % of the steps', training: { ...ON_ATTENTION, share: 0.6 }, flops: 0.6 },
  { name: 'LoRA on attention, rate 3e-3', training: { ...ON_ATTENTION, learningRate: 3e-3 }, flops: 1 },
  { name: 'LoRA, 60 % of the steps', training: { ...COSINE, share: 0.6 }, flops: 0.6 },
  { name: 'LoRA, rate 1.5e-3', training: { learningRate: 1.5e-3 }, flops: 1 },
  { name: 'LoRA, 13 rows a step', training: { ...COSINE, batchSize: 13 }, flops: 13 / 16 },
  { name: 'LoRA', training: COSINE, flops: 1 },
  { name: 'LoRA, rate 3e-3', training: { learningRate: 3e-3 }, flops: 1 },
  { name: 'LoRA, falling at the end', training: { learningRate: 2e-3, decay: 0.28 }, flops: 1 },
  {
    name: 'LoRA, 80 % of the steps, falling at the end',
    training: { learningRate: 2e-3, decay: 0.28, share: 0.8 },
    flops: 0.8,
  },
];

/** Each way twice: with generated answers, and (`screen: …`) by held-out loss alone. On commonsense within 60 %. */
export function screenJobs(seeds: readonly number[]): Job[] {
  const both = (job: Job): Job[] => [job, { ...job, method: SCREEN + job.method, asks: false }];
  return seeds.flatMap((seed) =>
    (['lora', 'qlora'] as const).flatMap((peft) =>
      (['math', 'csr'] as const).flatMap((task) => {
        const common = { task, trains: true, seed, peft } as const;
        const name = peft === 'lora' ? 'LoRA' : 'QLoRA';
        const steps = STEPS[task];
        return [
          ...DENSE.map(
            ({ name: way, training: { share = 1, ...training }, flops }): Job => ({
              ...{ ...common, estimator: 'none', sparsity: { kind: 'none' }, flops, method: way.replace('LoRA', name) },
              training: { steps: Math.round(share * steps), ...training },
            }),
          ),
          ...WAYS.map((way): Job => {
            const { paper = {}, keys = {}, training = { learningRate: 2e-3, decay: 0 }, budget = BUDGET[task] } = way;
            return {
              ...{ ...common, method: `Sparse${name}: ${way.name}`, estimator: String(keys.mode ?? 'calibrated_8') },
              ...(budget > 0 && { budget }),
              ...(way.sparseEvaluation && { sparseEvaluation: true }),
              sparsity: way.plan
                ? { kind: 'plan', estimator: 'calibrated_8', flops: way.plan[task], keys }
                : { kind: 'paper', mlp: 0.9, attention: 0, ...paper, keys: { mode: 'calibrated_8', ...keys } },
              training: { steps, ...training },
            };
          }),
        ].flatMap(both);
      }),
    ),
  );
}

/** A way within the budget that was screened, and the least of its held-out losses. */
export interface Screened {
  readonly task: Job['task'];
  readonly method: string;
  readonly loss: number;
}

/** Of one result, if it is a screened way's within the task's budget. */
export function screenedOf({
  part,
  task,
  method,
  budget,
  denseHeldOutLoss: loss,
}: Partial<Job> & { readonly denseHeldOutLoss?: number | null }): Screened[] {
  const fits =
    part === 'screen' && (task === 'math' || task === 'csr') && budget !== undefined && budget <= BUDGET[task];
  return fits && method?.startsWith(SCREEN) && loss ? [{ task, method, loss }] : [];
}

/** The run with answers of the so many-th best of the ways that were screened, once these are through. @param best 1 for the best. */
export function bestJob(task: 'math' | 'csr', best: number, seed: number): Job {
  const more = {
    part: 'screen',
    peft: 'lora',
    trains: true,
    estimator: 'calibrated_8',
    sparsity: { kind: 'best' },
  } as const;
  return { ...more, method: `SparseLoRA: the best but ${best - 1}`, task, seed, best };
}

/** What `bestJob` stands for. */
export function bestOfScreen({ task, best = 1, seed }: Job, screened: readonly Screened[]): Job {
  const least = new Map<string, number>();
  for (const { task: other, method, loss } of screened) {
    if (other === task) least.set(method, Math.min(loss, least.get(method) ?? Number.POSITIVE_INFINITY));
  }
  const chosen = [...least].sort(([, a], [, b]) => a - b)[best - 1]?.[0];
  const found = screenJobs([seed]).find(
    (job) => job.task === task && job.peft === 'lora' && job.method === chosen?.slice(SCREEN.length),
  );
  if (!found) throw new Error(`study: ${least.size} ways were screened on ${task}, so there is no ${best}. best`);
  return { ...found, part: 'screen' };
}
