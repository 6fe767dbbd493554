/** @file `npm run bench:plan`: the plan's table, for docs/SEVERAL-GPUS.md. */
import { fileURLToPath } from 'node:url';
import { H200 } from './machine.js';
import { type Form, memoryOf, type Run, timeOf } from './plan.js';
import { SHAPES } from './shapes.js';

const FORMS: readonly Form[] = ['bf16', 'fp8', 'nf4'];
const GPUS = [1, 8, 64, 512];

export const runOf = (name: string, gpus: number, form: Form): Run => ({
  shape: SHAPES.find((shape) => shape.name === name)!,
  ...{ gpus, form, tokens: 4096, labelled: 1024, rank: 32 },
});

const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(1);

/** A row for each model and number of GPUs. */
export function planTable(): string[] {
  const lines = [
    '| model | GPUs | GiB a GPU: bf16 | FP8 | 4 bits | of which shards, buffers (bf16) | step, bf16 | gathers, bf16 | tokens/s, bf16 |',
    '|---|--:|--:|--:|--:|--:|--:|--:|--:|',
  ];
  for (const { name } of SHAPES) {
    for (const gpus of GPUS) {
      const totals = FORMS.map((form) => {
        const { total } = memoryOf(runOf(name, gpus, form));
        return total <= H200.memory ? gib(total) : `${gib(total)} (no room)`;
      });
      const run = runOf(name, gpus, 'bf16');
      const { shards, buffers, total } = memoryOf(run);
      const { step, gather, tokensPerSecond } = timeOf(run, H200);
      const fits = total <= H200.memory;
      const times = fits
        ? [
            `${step.toFixed(2)} s`,
            `${gather.toFixed(2)} s`,
            tokensPerSecond.toLocaleString('en', { maximumFractionDigits: 0 }),
          ]
        : ['–', '–', '–'];
      lines.push(`| ${[name, gpus, ...totals, `${gib(shards)}, ${gib(buffers)}`, ...times].join(' | ')} |`);
    }
  }
  return lines;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(planTable().join('\n'));
