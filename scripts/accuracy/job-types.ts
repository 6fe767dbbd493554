/** @file What a job of the study is, its name, and the sparsity file of the paper's shape. */

export type TaskName = 'math' | 'csr' | 'random-answers';
export const PARTS = ['rows', 'ablations', 'final', 'qlora', 'screen', 'table', 'frontier', 'times'] as const;
export type PartName = (typeof PARTS)[number];

/** A sparsity file by what it is made of. */
export type SparsitySpec =
  | { readonly kind: 'none' }
  | PaperSpec
  /** That of the candidate which did best with the first seed. */
  | { readonly kind: 'best' }
  /** By `spft sparsity plan`, the first of the budgets that can be met. */
  | {
      readonly kind: 'plan';
      readonly estimator: string;
      /** Shares of the whole run's arithmetic, the dense steps of `keys` counted. */
      readonly flops: readonly number[];
      /** Dense tokens at the end of each prompt that are tried; the planner's own where it is not said. */
      readonly tails?: readonly number[];
      readonly keys?: SparsityKeys;
    };

/** As the paper's presets: MLPs of layers 3 to the last but one, attention in the upper half; unless other layers are named. */
export interface PaperSpec {
  readonly kind: 'paper';
  readonly mlp: number;
  readonly attention: number;
  /** First layer whose MLP is sparse; default 3. */
  readonly from?: number;
  /** Other MLP sparsities from a layer on, ascending. */
  readonly upper?: readonly (readonly [from: number, mlp: number])[];
  readonly keys?: SparsityKeys;
}

/** Further keys of the sparsity file. */
export type SparsityKeys = Readonly<Record<string, string | number | boolean>>;

/**
 * As the paper chooses: from labelled tokens too, which lets labels leak into the context. Of rows that are to be as the paper's, and of those that were measured so
 * before scores came from sparse tokens alone; all others have the product's default.
 */
export const PAPER_SCORES: SparsityKeys = { score_context_tokens: false };

/** How a job trains, where it is not as its task does. */
export interface TrainingSpec {
  readonly steps?: number;
  readonly learningRate?: number;
  readonly batchSize?: number;
  /** Projections with adapters; all seven where it is not said. */
  readonly targets?: readonly string[];
  /** The rate is kept up, and falls over so large a share of the steps at the end; 0: over those that a budget makes dense. */
  readonly decay?: number;
  /** Further keys of the training file. */
  readonly keys?: Readonly<Record<string, string>>;
}

export interface Job {
  /** Of the study; `rows` where it is not said. */
  readonly part?: PartName;
  /** Of the row that it counts for. */
  readonly method: string;
  readonly estimator: string;
  readonly task: TaskName;
  readonly seed: number;
  readonly peft: 'lora' | 'dora' | 'qlora';
  readonly sparsity: SparsitySpec;
  /** False: the base as it is. */
  readonly trains: boolean;
  readonly training?: TrainingSpec;
  /** Also asked with the context sparse, as it was trained. */
  readonly sparseEvaluation?: boolean;
  /** Share of LoRA's FLOPs that the run may take: sparsity ends where it must for that. */
  readonly budget?: number;
  /** Share of LoRA's FLOPs that a dense run takes by its steps or rows; 1 where it is not said. */
  readonly flops?: number;
  /** False: nothing is generated, held-out losses alone are wanted. */
  readonly asks?: boolean;
  /** Among which the best is chosen. */
  readonly candidate?: string | undefined;
  /** Of `kind: 'best'`: that which was so many-th by held-out loss among the screened ways. */
  readonly best?: number;
  /** Which was taken as the best. */
  readonly chosen?: string;
}

/** Names a job among all, and its files. */
export function jobKey({ part = 'rows', method, estimator, task, seed }: Job): string {
  return `${part}-${task}-${method}-${estimator}-${seed}`.toLowerCase().replace(/[^a-z0-9.]+/g, '-');
}

/** A sparsity file of the paper's shape for a model of so many layers. */
export function paperFile({ mlp, attention, from = 3, upper = [], keys }: PaperSpec, layerCount: number): string {
  const all = { mode: 'svd_8', skip_output_tokens: true, ...keys };
  const lines = Object.entries(all).map(([k, v]) => `${k}: ${v}`);
  lines.push('sparsity:');
  // A model of few layers, on which the study is tried, has a sparse one too.
  const first = Math.min(from, layerCount - 3);
  for (let n = 0; n < layerCount; n++) {
    const inside = n >= first && n <= layerCount - 2;
    const own = upper.filter(([start]) => n >= start).at(-1)?.[1] ?? mlp;
    lines.push(`  layers.${n}.mlp: ${inside ? own : 0}`);
    lines.push(`  layers.${n}.self_attn: ${inside && n >= layerCount / 2 - 1 ? attention : 0}`);
  }
  return `${lines.join('\n')}\n`;
}
