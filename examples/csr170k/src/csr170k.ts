/**
 * @file Commonsense reasoning, 170k questions (upstream's scripts/csr170k.sh): fine-tune on the training questions of eight sets, then
 * answer the test questions of each.
 *
 * Command    npm start -w examples/csr170k
 *            npm start -w examples/csr170k -- --model ./my-llama --sparsity my-llama.yaml --eval_dataset boolq+piqa --eval_limit 200
 *            npm run small -w examples/csr170k        three steps of the quickstart's base on data of our own
 * Data       downloaded when missing to `datasets`: commonsense_170k.json and eight test sets.
 * Cost       1 epoch of 170,420 questions in batches of 8: 21,303 steps. By shapes a SparseLoRA step of Llama-3-8B on 8 × 512 tokens, a
 *            quarter of them answer, takes 74 % of dense LoRA's 119 TFLOP; the questions here are shorter. In float32 the weights are 32 GB,
 *            more than wasm can address: the 8B model wants a backend with the memory for it. Smaller Llamas run on wasm; give yours a
 *            sparsity file of its own.
 * Expected   the paper (arXiv 2506.16500): accuracy of LoRA, faster. We have not measured this run at full size.
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
      // Dataset, epochs, learning rate and schedule, LoRA; evaluation on boolq, piqa, social-iqa, hellaswag, winogrande, ARC and openbookqa.
      ...['--config', config('train/csr170k_train.yaml')],
      // 14 of 32 MLPs at 0.97, 11 attentions at 0.2; predictors of rank 8 are found, or built once.
      ...['--sparsity', config('sparsity/llama3-8b-csr.yaml')],
      ...['--output_dir', 'runs/csr170k', '--report_to', 'all', '--seed', '42'],
      ...args,
    ],
    io,
  );
}
