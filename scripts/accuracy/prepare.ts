/** @file The study's data out of the datasets' own files: rows for training and for questions, drawn once and the same each time. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

type Row = Record<string, unknown>;

/** Rows of each kind that training sees, and questions of each set. */
export interface StudySizes {
  readonly math: number;
  readonly csr: number;
  readonly questions: number;
}

/** A linear congruential draw: the same rows on every machine. */
function shuffled<T>(rows: readonly T[], seed: number): T[] {
  const result = [...rows];
  let state = seed >>> 0;
  for (let i = result.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

async function rowsOf(path: string): Promise<Row[]> {
  return JSON.parse(await readFile(path, 'utf8')) as Row[];
}

/**
 * Writes `math-train.json`, `math-held.json`, `csr-train.json`, `csr-held.json`, `random-train.json`, `random-held.json`, `mawps.json`, `gsm8k.json`, `arc.json`,
 * `openbookqa.json` and `boolq.json`.
 * @param datasets folder with LLM-Adapters' files: mawps/trainset.json, math_data.json, ARC-Easy/train.json, …
 */
export async function prepare(datasets: string, out: string, { math, csr, questions }: StudySizes): Promise<void> {
  await mkdir(out, { recursive: true });
  const read = (name: string) => rowsOf(join(datasets, name));
  const save = (name: string, rows: readonly unknown[]) => writeFile(join(out, name), `${JSON.stringify(rows)}\n`);
  // MAWPS's own rows answer by an equation, the others in words: which, shows in the question alone.
  const equations = shuffled(await read('mawps/trainset.json'), 1);
  const words = shuffled(await read('math_data.json'), 2).filter((row) => String(row.output).length < 500);
  const held = 120;
  await save('math-held.json', [...equations.slice(0, held), ...words.slice(0, held)]);
  const half = Math.floor(math / 2);
  await save(
    'math-train.json',
    shuffled([...equations.slice(held, held + half), ...words.slice(held, held + half)], 3),
  );
  const choices: Row[][] = [];
  for (const name of ['ARC-Easy', 'openbookqa', 'boolq']) choices.push(shuffled(await read(`${name}/train.json`), 4));
  await save(
    'csr-held.json',
    choices.flatMap((rows) => rows.slice(0, 60)),
  );
  await save(
    'csr-train.json',
    shuffled(
      choices.flatMap((rows) => rows.slice(60, 60 + Math.floor(csr / 3))),
      5,
    ),
  );
  const draws = shuffled(
    Array.from({ length: half }, (_, n) => 1 + (n % 4)),
    6,
  );
  const random = words.slice(0, draws.length).map((row, n) => ({
    instruction: `Please choose the correct answer to the question: ${row.instruction}\n\nAnswer format: answer1/answer2/answer3/answer4`,
    ...{ input: '', output: `the correct answer is answer${draws[n]}`, answer: `answer${draws[n]}` },
  }));
  await save('random-train.json', random.slice(held));
  await save('random-held.json', random.slice(0, held));
  const sets = { mawps: 'mawps', gsm8k: 'gsm8k', arc: 'ARC-Easy', openbookqa: 'openbookqa', boolq: 'boolq' };
  for (const [name, folder] of Object.entries(sets)) {
    const rows = shuffled(await read(`${folder}/test.json`), 7);
    const most = name === 'mawps' ? rows.length : name === 'gsm8k' ? Math.floor((2 * questions) / 3) : questions;
    await save(`${name}.json`, rows.slice(0, most));
  }
}
