/**
 * @file The original's instruction sets of code and chat: which rows of the hub's data are used, and what of their answers. The order is the
 * file's, on purpose: the original calls a shuffle and drops its result.
 */
import type { CompletionRecord } from '../data/data-record.js';
import { ALPACA_TEMPLATE } from '../data/prompt.js';
import { shown } from '../data/record.js';

export interface InstructionSet {
  readonly name: string;
  /** On the hub, split train. */
  readonly repoId: string;
  /** Rows for training, the first that pass. */
  readonly most: number;
  /** Null for a row that is left out on purpose; the problem as text for one that cannot be used. */
  readonly parse: (row: unknown) => CompletionRecord | null | string;
}

type Fields = Readonly<Record<string, unknown>>;

function texts(row: unknown, a: string, b: string): readonly [string, string] | string {
  const fields = (typeof row === 'object' && row !== null ? row : {}) as Fields;
  const names = Object.keys(fields).map((name) => `'${name}'`);
  for (const name of [a, b]) {
    if (!(name in fields)) return `lacks the column '${name}'; it has ${names.join(', ') || 'none'}`;
    if (typeof fields[name] !== 'string') return `wanted a string in '${name}', found ${shown(fields[name])}`;
  }
  return [fields[a] as string, fields[b] as string];
}

/** Alpaca's prompt, one space, the response; a row that does not fit the maximum is left out, not cut. */
const completion = (instruction: string, response: string): CompletionRecord => ({
  prompt: `${ALPACA_TEMPLATE.prompt({ instruction, input: '' })} `,
  completion: response,
  whole: true,
});

/** What comes before the first fence, and the first fenced block, closed; null where there is no fence. */
export function firstBlock(answer: string): string | null {
  const open = answer.indexOf('```');
  if (open < 0) return null;
  const close = answer.indexOf('```', open + 3);
  return close < 0 ? `${answer.trimEnd()}\n\`\`\`` : answer.slice(0, close + 3);
}

export const INSTRUCTION_SETS: readonly InstructionSet[] = [
  {
    name: 'codefeedback',
    repoId: 'm-a-p/CodeFeedback-Filtered-Instruction',
    most: 100_000,
    parse: (row) => {
      const found = texts(row, 'query', 'answer');
      if (typeof found === 'string') return found;
      const response = firstBlock(found[1]);
      return response === null ? null : completion(found[0], response);
    },
  },
  {
    name: 'wizardlm',
    repoId: 'WizardLMTeam/WizardLM_evol_instruct_70k',
    most: 52_000,
    parse: (row) => {
      const found = texts(row, 'instruction', 'output');
      if (typeof found === 'string') return found;
      return /sorry|as an ai/i.test(found[1]) ? null : completion(found[0], found[1]);
    },
  },
];
