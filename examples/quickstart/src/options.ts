/** @file The quickstart's few flags. */
import { parseArgs } from 'node:util';

export interface Options {
  /** Where adapters and the report go. */
  readonly out: string;
  /** Where the numbers go as JSON, if anywhere. */
  readonly json: string | null;
  /** A backend by name; the best that there is by default. */
  readonly backend: string | undefined;
  /** Optimizer steps of each method. */
  readonly steps: number | null;
  /** Frozen weights as they come, or in 4 bits. */
  readonly peft: 'lora' | 'qlora';
  /** Held-out questions to ask. */
  readonly questions: number;
}

export const USAGE = `usage: npm run quickstart -- [--out DIR] [--json FILE] [--backend NAME] [--peft lora|qlora] [--steps N] [--questions N]

  --out DIR        where adapters and report.html go (runs/quickstart)
  --json FILE      write the numbers as JSON too
  --backend NAME   cuda, tensorflow, blas, wasm or cpu (the best there is; the environment's SPFT_BACKEND)
  --peft METHOD    lora, or qlora: the same on frozen weights in 4 bits (NF4)
  --steps N        training steps of each method (100)
  --questions N    held-out questions to ask before and after (200)`;

/** @throws TypeError naming the flag, when one is unknown or wrong. */
export function parseOptions(argv: readonly string[]): Options | null {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      out: { type: 'string', default: 'runs/quickstart' },
      json: { type: 'string' },
      backend: { type: 'string' },
      peft: { type: 'string', default: 'lora' },
      steps: { type: 'string' },
      questions: { type: 'string', default: '200' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return null;
  return {
    out: values.out,
    json: values.json ?? null,
    backend: values.backend,
    peft: method(values.peft),
    steps: values.steps === undefined ? null : positive('--steps', values.steps),
    questions: positive('--questions', values.questions),
  };
}

function method(text: string): Options['peft'] {
  if (text === 'lora' || text === 'qlora') return text;
  throw new TypeError(`--peft: wanted lora or qlora, found '${text}'`);
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new TypeError(`${flag}: wanted a whole number of at least 1, found '${text}'`);
}
