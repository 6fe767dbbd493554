/** @file MT-Bench from the command line: the table of a judgment file, and a model's answers in FastChat's form. */
import { randomBytes } from 'node:crypto';
import { writeFileAtomically } from '@spft/safetensors/node';
import {
  MT_BENCH_TEMPERATURES,
  type MtBenchModel,
  type MtBenchRule,
  mtBenchTable,
  parseJudgment,
  parseQuestion,
} from '@spft/trainer/benchmarks';
import { readDataRows } from '@spft/trainer/node';
import { CliError } from '../errors.js';
import { type WriterFlags, withWriter } from '../steps/open-writer.js';
import { chooseTemplate, DEFAULT_TEMPLATE, openTemplate } from '../steps/template.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import { JsonlWriter } from '../terminal/jsonl-writer.js';
import type { Output } from '../terminal/output.js';
import { table } from '../terminal/table.js';

export interface MtBenchTableFlags {
  readonly judgment: string;
  readonly question: string;
  readonly asPublished?: boolean;
  readonly allJudgments?: boolean;
  readonly json?: string;
  readonly csv?: string;
}

/** Every row of a file, by a parser that says what is wrong with one. */
async function rows<T extends object>(file: string, parse: (row: unknown) => T | string): Promise<T[]> {
  const all: T[] = [];
  for await (const { line, value, problem } of readDataRows(file)) {
    const parsed = problem ?? parse(value);
    if (typeof parsed === 'string') throw new CliError(`${file}:${line}: ${parsed}`);
    all.push(parsed);
  }
  if (all.length === 0) throw new CliError(`${file}: has no row`);
  return all;
}

export async function runMtBenchTable(flags: MtBenchTableFlags, output: Output): Promise<void> {
  if (flags.asPublished && flags.allJudgments)
    throw new CliError('--as_published takes all judgments already; give one of the two');
  await preparePath(flags.json);
  await preparePath(flags.csv);
  const questions = await rows(flags.question, parseQuestion);
  const judgments = await rows(flags.judgment, parseJudgment);
  const rule: MtBenchRule = flags.asPublished ? 'published' : flags.allJudgments ? 'all' : 'last';
  const models = mtBenchTable(questions, judgments, rule);
  const categories = [...new Set(questions.map(({ category }) => category))].sort();
  const head = ['Model', ...categories, 'Average'];
  const cells = models.map(({ model, categories: of, average }) => [
    model,
    ...categories.map((name) => of[name]),
    average,
  ]);
  output.print(
    table(
      head,
      cells.map((row) => row.map((cell) => (typeof cell === 'number' ? cell.toFixed(2) : (cell ?? '-')))),
    ),
  );
  for (const { model, withoutRating, replaced, missing } of models) {
    if (withoutRating > 0) {
      const what = rule === 'published' ? 'averaged in as -1, as published' : 'left out';
      output.warn(`${model}: ${withoutRating} judgments have no rating (-1), ${what}`);
    }
    if (replaced > 0)
      output.note(`${model}: ${replaced} judgments are replaced by later ones of the same question and turn`);
    if (missing.length > 0) {
      const named = missing.slice(0, 5).map(([question, turn]) => `${question} turn ${turn}`);
      output.warn(
        `${model}: ${missing.length} turns have no judgment: ${named.join(', ')}${missing.length > 5 ? ', …' : ''}`,
      );
    }
  }
  if (flags.csv !== undefined) {
    const quoted = (cell: unknown) =>
      /[",\n]/.test(String(cell)) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell ?? '');
    const text = [head, ...cells].map((row) => row.map(quoted).join(',')).join('\n');
    await writeFileAtomically(flags.csv, (handle) => handle.writeFile(`${text}\n`));
  }
  await writeJson(flags.json, { rule, models: models.map(jsonOf) }, output);
}

const jsonOf = ({ model, average, categories, withoutRating, turns, replaced, missing }: MtBenchModel) => ({
  ...{ model, average, categories, withoutRating, turns, replaced, missing },
});

export interface MtBenchAnswersFlags extends WriterFlags {
  readonly question: string;
  readonly out: string;
  readonly modelId?: string;
  readonly template?: string;
  readonly seed: number;
  readonly maxNewTokens: number;
  readonly limit?: number;
}

/** Two turns of each question; the first answer is part of the second prompt. */
export async function runMtBenchAnswers(
  flags: MtBenchAnswersFlags,
  backend: string | undefined,
  output: Output,
): Promise<void> {
  const questions = (await rows(flags.question, parseQuestion)).slice(0, flags.limit);
  const choice = await chooseTemplate(flags.template, flags.adapter, DEFAULT_TEMPLATE);
  await withWriter(flags, backend, output, async ({ opened, write }) => {
    const { tokenizer } = opened;
    const chats =
      tokenizer.chatTemplates.size > 0 && flags.template === undefined && choice.name === DEFAULT_TEMPLATE.name;
    const template = openTemplate(chats ? { name: 'chat', format: null } : choice, tokenizer);
    const status = output.task('answers');
    const file = await JsonlWriter.open(flags.out);
    try {
      for (const [n, { id, category, turns }] of questions.entries()) {
        const temperature = MT_BENCH_TEMPERATURES[category] ?? 0.7;
        const said: { role: string; content: string }[] = [];
        for (const [t, content] of turns.entries()) {
          said.push({ role: 'user', content });
          // A template without turns gets the talk so far as the text of one instruction.
          const prompt = template.conversation
            ? template.conversation(said, { addGenerationPrompt: true })
            : template.prompt({ instruction: said.map((message) => message.content).join('\n\n'), input: '' });
          const ids = tokenizer.encode(prompt, { addSpecialTokens: template.addSpecialTokens ?? true });
          const [answer] = await write([ids], {
            ...{ maxNewTokens: flags.maxNewTokens, doSample: temperature > 0, seed: flags.seed + 2 * id + t },
            ...(temperature > 0 ? { temperature } : {}),
          });
          const stop = template.stop === undefined ? -1 : answer!.indexOf(template.stop);
          said.push({ role: 'assistant', content: (stop < 0 ? answer! : answer!.slice(0, stop)).trim() });
        }
        const spoken = said.flatMap(({ role, content }) => (role === 'assistant' ? [content] : []));
        await file.write({
          question_id: id,
          answer_id: randomBytes(11).toString('base64url'),
          model_id: flags.modelId ?? flags.adapter ?? flags.model,
          choices: [{ index: 0, turns: spoken }],
          tstamp: Date.now() / 1000,
        });
        status.update((n + 1) / questions.length);
      }
      status.done(`${questions.length} questions`);
    } catch (error) {
      status.fail();
      throw error;
    } finally {
      await file.close();
    }
  });
  output.print(flags.out);
}
