/**
 * @file HumanEval: the original's prompt, and a program out of what a model writes. Nothing here runs generated code; EvalPlus does, in a
 * container. The original takes fences and triple quotes out wherever they stand and indents anew; here the program ends where its fence does.
 */
import { shown } from '../data/record.js';

export interface HumanEvalProblem {
  readonly taskId: string;
  /** Signature and docstring. */
  readonly prompt: string;
  readonly entryPoint: string;
}

/** A row of HumanEval.jsonl. @returns the problem with it as text. */
export function parseProblem(row: unknown): HumanEvalProblem | string {
  const fields = (typeof row === 'object' && row !== null ? row : {}) as Readonly<Record<string, unknown>>;
  for (const field of ['task_id', 'prompt', 'entry_point']) {
    if (typeof fields[field] !== 'string') return `wanted a string in '${field}', found ${shown(fields[field])}`;
  }
  const { task_id: taskId, prompt, entry_point: entryPoint } = fields as Record<string, string>;
  return { taskId: taskId!, prompt: prompt!, entryPoint: entryPoint! };
}

const OPENING = `Below is an instruction that describes a task.
 Write a response that appropriately completes the request.

### Instruction:
Complete the following Python code: 
Notes: respond with the entire complete function definition
do not add any comments, be as concise in your code as possible
use only built-in libraries, assume no additional imports other than those provided (if any)
use \`    \` (4 spaces) for each level of indentation

code:
\`\`\`python
`;

/** What the original asks (`spft/test/code.py`), blanks included, with the space that it adds at the end. */
export function humanEvalPrompt({ prompt }: HumanEvalProblem): string {
  return `${OPENING}${prompt}\n\`\`\`\n\n### Response:\n\`\`\`python\n `;
}

/**
 * The program in an answer whose fence the prompt has opened: up to the fence that closes it, or all of it where none does; of an answer that opens
 * a fence of its own, what stands in that. What precedes the first line of code of a continuation is the prompt's imports.
 * @returns a whole program for EvalPlus's `solution`.
 */
export function programOf(answer: string, problem: HumanEvalProblem): string {
  const text = answer.replaceAll('\r\n', '\n');
  // Prose, then a fence of its own: the program is in that.
  const own = /^((?:(?!```)[\s\S])*)```(?:python|py)?[ \t]*\n(?=[\s\S]*\S)/.exec(text);
  const isProse = own !== null && !/^\s*(def|import|from|class|return|@)\b/m.test(own[1]!);
  const body = isProse ? text.slice(own[0].length) : text;
  const close = /(^|\n)[ \t]*```/.exec(body);
  const code = (close ? body.slice(0, close.index) : body).replaceAll('\t', '    ').trimEnd();
  // The prompt ends in a space, so that the first line is one column in.
  const lines = code.replace(/^\n+/, '').split('\n');
  if (/^ (def|import|from|class|@)/.test(lines[0] ?? '')) lines[0] = lines[0]!.slice(1);
  const program = lines.join('\n');
  const defines = new RegExp(`^\\s*(async\\s+)?def\\s+${problem.entryPoint}\\b`, 'm').test(program);
  // An answer without the function goes on where the prompt ends.
  if (!defines) return `${problem.prompt}${program.startsWith(' ') ? program : indented(program)}\n`;
  return `${importsOf(problem.prompt, program)}${program}\n`;
}

const indented = (code: string) =>
  code
    .split('\n')
    .map((line) => (line === '' ? line : `    ${line}`))
    .join('\n');

/** Imports of the prompt that the program does not repeat: a whole function is written without them. */
function importsOf(prompt: string, program: string): string {
  const imports = prompt.split('\n').filter((line) => /^(from|import)\s/.test(line) && !program.includes(line));
  return imports.length === 0 ? '' : `${imports.join('\n')}\n\n`;
}

/** `pass@k` of one problem from n samples of which c are right, unbiased (Chen et al. 2021). */
export function passAtK(n: number, c: number, k: number): number {
  if (n - c < k) return 1;
  let miss = 1;
  for (let i = n - c + 1; i <= n; i++) miss *= 1 - k / i;
  return 1 - miss;
}
