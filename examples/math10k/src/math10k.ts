/**
 * @file Math10K, the arithmetic benchmark of the paper (upstream's scripts/math10k.sh): fine-tune on ten thousand worked problems, then
 * answer GSM8K, SVAMP and MAWPS.
 *
 * Command    npm start -w examples/math10k
 *            npm start -w examples/math10k -- --model ./my-llama --sparsity my-llama.yaml --peft dora --learning_rate 1e-4
 *            npm run small -w examples/math10k        three steps of the quickstart's base on data of our own
 * Data       downloaded when missing to `datasets`: math_10k.json (7 MB) and three test sets.
 * Cost       3 epochs of 9,919 problems in batches of 8: 3,720 steps. By shapes a SparseLoRA step of Llama-3-8B on 8 × 512 tokens, a quarter
 *            of them answer, takes 45 % of dense LoRA's 119 TFLOP. In float32 its weights are 32 GB, more than wasm can address:
 *            the 8B model wants a backend with the memory for it. Smaller Llamas run on wasm; give yours a sparsity file of its own.
 * Expected   the paper (arXiv 2506.16500): accuracy of LoRA, up to 2.2 times less compute, up to 1.6 times faster on a GPU. We have not
 *            measured this run at full size.
 */
import { fileURLToPath } from 'node:url';
import { type CliIo, main, processIo } from '@spft/cli';

const config = (path: string) => fileURLToPath(new URL(`../../../configs/${path}`, import.meta.url));

/** @param args flags of `spft train`: every training key, each overriding what is here. @returns the exit code. */
export function run(args: readonly string[], io: CliIo = processIo()): Promise<number> {
  return main(
    [
      'train',
      ...['--model', 'NousResearch/Meta-Llama-3-8B-Instruct'],
      // Dataset, epochs, learning rate and schedule, LoRA; evaluation on gsm8k+svamp+mawps when it is trained.
      ...['--config', config('train/math10k_train.yaml')],
      // 28 of 32 MLPs at 0.99, 14 attentions at 0.75; predictors of rank 8 are found, or built once.
      ...['--sparsity', config('sparsity/llama3-8b-math10k.yaml')],
      ...['--output_dir', 'runs/math10k', '--report_to', 'all', '--seed', '42'],
      ...args,
    ],
    io,
  );
}
