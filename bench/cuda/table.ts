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

/** What a row is, for people. */
const TITLES: Readonly<Record<string, string>> = {
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
  dora: '**spft**, DoRA',
  dense_lora_2x2048: '**spft**, LoRA, 2 × 2048 tokens',
};

/** In the order of the titles. */
export function gpuTable({ rows }: Pick<GpuResult, 'rows'>): string {
  const place = ({ name }: RowResult) => Object.keys(TITLES).indexOf(name);
  const lines = [...rows]
    .sort((a, b) => place(a) - place(b))
    .map(({ name, msPerStep, tokensPerSecond, peakGiB, floorMs }) =>
      [
        TITLES[name] ?? name,
        msPerStep.toFixed(1),
        `${tokensPerSecond}`,
        peakGiB.toFixed(1),
        floorMs?.toFixed(1) ?? '',
      ].join(' | '),
    );
  return [
    '| | ms/step | tokens/s | peak GiB | frozen products alone, ms |',
    '|---|--:|--:|--:|--:|',
    ...lines.map((l) => `| ${l} |`),
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(gpuTable(JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as GpuResult));
}
