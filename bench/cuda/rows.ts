/** @file What is measured on a GPU: the rows of the project's table (DESIGN section 5), on Llama-3-8B's shape and SmolLM2-135M's with random weights. */
import type { SpftConfig } from '@spft/config';

export interface Row {
  readonly name: string;
  /** Whose shape; Llama-3-8B's where it is not said. */
  readonly shape?: 'smollm2';
  readonly dora: boolean;
  /** Layers with adapters; q, k, v and o where it is not said. */
  readonly targetModules?: readonly string[];
  /** How the frozen linear layers are stored; bf16 where it is not said. `nf4` with double quantisation, as QLoRA has it. */
  readonly basePrecision?: 'fp8' | 'nf4';
  /** Layers whose weights are stored as the backend has them all the same. */
  readonly modulesToNotConvert?: readonly string[];
  /** Whether the transposed weights are kept too. */
  readonly keepTransposed?: boolean;
  /** Input channels of each layer that are multiplied in twice as many bits; as many as a model in FP8 has by default where it is not said. */
  readonly outlierChannels?: number;
  /** Whether layers are run again in the backward pass instead of keeping their activations. */
  readonly checkpointing?: boolean;
  /** A file of configs/sparsity, a config, or null for dense. */
  readonly sparsity: string | Parameters<typeof SpftConfig.fromObject>[0] | null;
  readonly batch: number;
  /** Tokens of a sequence, and how many of them, at its end, carry a label. */
  readonly length: number;
  readonly labelled: number;
  /** Milliseconds a step and GiB at the peak that the project has set itself, on an H200; null where it is a ratio. */
  readonly target: { readonly ms: number; readonly gib: number } | null;
}

const BATCH = { batch: 8, length: 512, labelled: 128 } as const;
const FP8 = { basePrecision: 'fp8' } as const;
const KV_IN_BF16 = { ...FP8, modulesToNotConvert: ['k_proj', 'v_proj'] } as const;
const WITHOUT_OUTLIERS = { ...FP8, outlierChannels: 0 } as const;
const NF4 = { basePrecision: 'nf4' } as const;
const LONG = { batch: 2, length: 2048, labelled: 512 } as const;
const MATH = 'llama3-8b-math10k.yaml';
const CSR = 'llama3-8b-csr.yaml';

/** 16 samples of 130 tokens on a small model, with adapters everywhere: what the host's speed decides. */
const SMOLLM2 = {
  shape: 'smollm2',
  ...{ dora: false, batch: 16, length: 130, labelled: 32 },
  targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
} as const;
/** 26 of its 30 layers. */
const SMOLLM2_SPARSE = {
  mode: 'svd_8',
  skip_output_tokens: true,
  sparsity: Object.fromEntries(Array.from({ length: 26 }, (_, n) => [`layers.${n + 2}.mlp`, 0.75])),
};

export const ROWS: readonly Row[] = [
  { name: 'dense_lora', dora: false, sparsity: null, ...BATCH, target: { ms: 196, gib: 27 } },
  { name: 'sparselora_math10k', dora: false, sparsity: MATH, ...BATCH, target: { ms: 97, gib: 23 } },
  { name: 'sparselora_csr', dora: false, sparsity: CSR, ...BATCH, labelled: 3, target: { ms: 133, gib: 25 } },
  { name: 'dora', dora: true, sparsity: null, ...BATCH, target: null },
  { name: 'dense_lora_2x2048', dora: false, sparsity: null, ...LONG, target: null },
  {
    ...{ name: 'dense_lora_checkpointed_2x2048', dora: false, checkpointing: true, sparsity: null },
    ...{ ...LONG, target: null },
  },
  { name: 'dense_lora_fp8', dora: false, ...FP8, sparsity: null, ...BATCH, target: { ms: 118, gib: 20 } },
  { name: 'sparselora_math10k_fp8', dora: false, ...FP8, sparsity: MATH, ...BATCH, target: { ms: 68, gib: 17 } },
  {
    name: 'sparselora_csr_fp8',
    dora: false,
    ...FP8,
    sparsity: CSR,
    ...BATCH,
    labelled: 3,
    target: { ms: 88, gib: 18 },
  },
  {
    ...{ name: 'sparselora_math10k_fp8_two_copies', dora: false, ...FP8, keepTransposed: true },
    ...{ sparsity: MATH, ...BATCH, target: null },
  },
  { name: 'dense_lora_fp8_kv_bf16', dora: false, ...KV_IN_BF16, sparsity: null, ...BATCH, target: null },
  { name: 'sparselora_math10k_fp8_kv_bf16', dora: false, ...KV_IN_BF16, sparsity: MATH, ...BATCH, target: null },
  { name: 'dense_lora_fp8_plain', dora: false, ...WITHOUT_OUTLIERS, sparsity: null, ...BATCH, target: null },
  { name: 'sparselora_math10k_fp8_plain', dora: false, ...WITHOUT_OUTLIERS, sparsity: MATH, ...BATCH, target: null },
  { name: 'qlora_dense', dora: false, ...NF4, sparsity: null, ...BATCH, target: { ms: 222, gib: 18 } },
  { name: 'sparseqlora_math10k', dora: false, ...NF4, sparsity: MATH, ...BATCH, target: { ms: 118, gib: 14 } },
  { name: 'qlora_2x2048', dora: false, ...NF4, sparsity: null, ...LONG, target: null },
  {
    ...{ name: 'qlora_checkpointed_2x2048', dora: false, ...NF4, checkpointing: true, sparsity: null, ...LONG },
    // Of the row before it, times 1.33.
    target: null,
  },
  { name: 'smollm2_lora', ...SMOLLM2, sparsity: null, target: { ms: 15, gib: 2 } },
  { name: 'smollm2_sparselora', ...SMOLLM2, sparsity: SMOLLM2_SPARSE, target: { ms: 15, gib: 2 } },
];

/** Rows by name, in the order of the table. @throws RangeError for one that there is not. */
export function rowsNamed(names: string): Row[] {
  const wanted = names.split(',').map((name) => name.trim());
  const wrong = wanted.find((name) => !ROWS.some((row) => row.name === name));
  if (wrong !== undefined) {
    throw new RangeError(`there is no row '${wrong}'; there are ${ROWS.map(({ name }) => name).join(', ')}`);
  }
  return ROWS.filter(({ name }) => wanted.includes(name));
}
