/** @file HumanEval's completions from the command line: written for EvalPlus, never run. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type HumanEvalProblem, humanEvalPrompt, parseProblem, programOf } from '@spft/trainer/benchmarks';
import { fetchDataset, readDataRows } from '@spft/trainer/node';
import { CliError } from '../errors.js';
import { type WriterFlags, withWriter } from '../steps/open-writer.js';
import { JsonlWriter } from '../terminal/jsonl-writer.js';
import type { Output } from '../terminal/output.js';

export interface HumanEvalFlags extends WriterFlags {
  readonly problems?: string;
  readonly out: string;
  readonly samples: number;
  readonly limit?: number;
  readonly temperature: number;
  readonly topP: number;
  readonly seed: number;
  readonly maxNewTokens: number;
  readonly batchSize: number;
}

const URL_OF_PROBLEMS = 'https://raw.githubusercontent.com/openai/human-eval/master/data/HumanEval.jsonl.gz';

export async function runHumanEval(flags: HumanEvalFlags, backend: string | undefined, output: Output): Promise<void> {
  const problems = await readProblems(flags.problems, output);
  const asked = problems
    .slice(0, flags.limit)
    .flatMap((problem, index) => Array.from({ length: flags.samples }, (_, sample) => ({ problem, index, sample })));
  const { temperature, topP, maxNewTokens } = flags;
  await withWriter(flags, backend, output, async ({ opened, write }) => {
    const status = output.task('completions');
    const file = await JsonlWriter.open(flags.out);
    try {
      for (let start = 0; start < asked.length; start += flags.batchSize) {
        const batch = asked.slice(start, start + flags.batchSize);
        const prompts = batch.map(({ problem }) => opened.tokenizer.encode(humanEvalPrompt(problem)));
        const answers = await write(prompts, {
          ...{ maxNewTokens, doSample: temperature > 0, seed: flags.seed + start },
          ...(temperature > 0 ? { temperature, topP } : {}),
        });
        for (const [n, { problem }] of batch.entries()) {
          await file.write({ task_id: problem.taskId, solution: programOf(answers[n]!, problem) });
        }
        status.update(Math.min(1, (start + batch.length) / asked.length));
      }
      status.done(`${asked.length} for ${problems.slice(0, flags.limit).length} problems`);
    } catch (error) {
      status.fail();
      throw error;
    } finally {
      await file.close();
    }
  });
  output.print(flags.out);
  output.note(
    `judge it where generated code may run, in EvalPlus's container: evalplus.evaluate --dataset humaneval --samples ${flags.out}`,
  );
}

async function readProblems(path: string | undefined, output: Output): Promise<HumanEvalProblem[]> {
  let file = path;
  if (file === undefined) {
    file = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'spft', 'HumanEval.jsonl.gz');
    if (!existsSync(file)) {
      output.note(`problems from ${URL_OF_PROBLEMS}`);
      await fetchDataset(URL_OF_PROBLEMS, file);
    }
  }
  const problems: HumanEvalProblem[] = [];
  for await (const { line, value, problem } of readDataRows(file)) {
    const parsed = problem ?? parseProblem(value);
    if (typeof parsed === 'string') throw new CliError(`${file}:${line}: ${parsed}`);
    problems.push(parsed);
  }
  if (problems.length === 0)
    throw new CliError(`${file}: has no problem; wanted lines with task_id, prompt and entry_point`);
  return problems;
}
