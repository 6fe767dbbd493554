/** @file The project's table as Markdown, drawn from a result of this bench: `node bench/dist/bench/cuda/table.js bench/results/h200.json`. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RowResult } from './measure.js';

export interface GpuResult {
  readonly device: string;
  readonly driver: string;
  readonly commit: string | null;
  readonly date: string;
  readonly rows: readonly RowResult[];
}

/** What a row is, for people, in the order of the table; of each row that this bench can write (test/gpu-table.test.ts). */
export const TITLES: Readonly<Record<string, string>> = {
  torch_hf: 'PyTorch + transformers + PEFT',
  torch_liger: 'PyTorch + PEFT + Liger',
  torch_liger_full: 'the same, Liger with fused linear cross-entropy and SwiGLU',
  torch_dora: 'PyTorch + PEFT + Liger, DoRA',
  torch_liger_2x2048: 'PyTorch + PEFT + Liger, 2 × 2048 tokens',
  dense_lora: '**spft**, LoRA',
  sparselora_math10k: '**spft**, SparseLoRA `llama3-8b-math10k`',
  sparselora_csr: '**spft**, SparseLoRA `llama3-8b-csr`, 3 labelled tokens a sequence',
  dense_lora_fp8: '**spft**, LoRA on a base in FP8',
  sparselora_math10k_fp8: '**spft**, SparseLoRA `llama3-8b-math10k` on a base in FP8',
  sparselora_math10k_fp8_two_copies: 'the same, transposed weights kept',
  sparselora_csr_fp8: '**spft**, SparseLoRA `llama3-8b-csr` on a base in FP8',
  dense_lora_fp8_plain: '**spft**, LoRA on a base in FP8, no outlier channels',
  sparselora_math10k_fp8_plain: 'the same, SparseLoRA `llama3-8b-math10k`',
  dense_lora_fp8_kv_bf16: '**spft**, LoRA on a base in FP8, k and v in bf16',
  sparselora_math10k_fp8_kv_bf16: 'the same, SparseLoRA `llama3-8b-math10k`',
  torch_qlora: 'PyTorch + PEFT + Liger + bitsandbytes, QLoRA in NF4',
  qlora_dense: '**spft**, QLoRA in NF4',
  sparseqlora_math10k: '**spft**, SparseQLoRA `llama3-8b-math10k`',
  torch_qlora_2x2048: 'PyTorch + PEFT + Liger + bitsandbytes, QLoRA, 2 × 2048 tokens',
  torch_qlora_checkpointed_2x2048:
    'PyTorch + PEFT + Liger + bitsandbytes, QLoRA, 2 × 2048 tokens, gradient checkpointing',
  qlora_2x2048: '**spft**, QLoRA, 2 × 2048 tokens',
  qlora_checkpointed_2x2048: 'the same, gradient checkpointing',
  dora: '**spft**, DoRA',
  dense_lora_2x2048: '**spft**, LoRA, 2 × 2048 tokens',
  dense_lora_checkpointed_2x2048: 'the same, gradient checkpointing',
  torch_smollm2: 'SmolLM2-135M, 16 × 130 tokens: PyTorch + PEFT',
  torch_smollm2_compile: 'the same, `torch.compile`',
  torch_smollm2_compile_graphs: 'the same, `torch.compile(mode="reduce-overhead")`',
  smollm2_lora: 'SmolLM2-135M, 16 × 130 tokens: **spft**, LoRA',
  smollm2_sparselora: 'the same, SparseLoRA',
  generate_8b: '**spft**, generation: a token after 512 to 768, bf16',
  generate_8b_4: 'the same, four sequences at once',
  generate_8b_fp8: 'the same, one sequence, weights in FP8',
  generate_8b_nf4: 'the same, weights in NF4',
  generate_smollm2: 'SmolLM2-135M, generation: a token, bf16',
};

/** Of the host alone, where it was measured without the GPU's share. */
const hostOf = ({ name, hostMs, firstStepsMs }: RowResult): number | undefined =>
  firstStepsMs || name.startsWith('torch_') ? hostMs : undefined;

/** In the order of the titles. */
export function gpuTable({ rows }: Pick<GpuResult, 'rows'>): string {
  const place = ({ name }: RowResult) => Object.keys(TITLES).indexOf(name);
  const hasHost = rows.some((row) => hostOf(row) !== undefined);
  const lines = [...rows]
    .sort((a, b) => place(a) - place(b))
    .map((row) =>
      [
        TITLES[row.name] ?? row.name,
        row.msPerStep.toFixed(1),
        `${row.tokensPerSecond}`,
        row.peakGiB.toFixed(1),
        ...(hasHost ? [hostOf(row)?.toFixed(1) ?? ''] : []),
        row.floorMs?.toFixed(1) ?? '',
      ].join(' | '),
    );
  const host = hasHost ? ' host alone, ms |' : '';
  return [
    `| | ms/step | tokens/s | peak GiB |${host} frozen products alone, ms |`,
    `|---|--:|--:|--:|${hasHost ? '--:|' : ''}--:|`,
    ...lines.map((l) => `| ${l} |`),
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(gpuTable(JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as GpuResult));
}
