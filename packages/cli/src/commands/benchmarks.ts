/** @file `spft humaneval`, `spft mt-bench`, `spft arc`: the original's other benchmarks. */
import type { Command } from 'commander';
import { addFlags, type FlagSpec, naturalNumber, numberBetween, positiveInteger } from '../flags.js';
import type { ArcFlags } from '../runs/run-arc.js';
import type { HumanEvalFlags } from '../runs/run-humaneval.js';
import type { MtBenchAnswersFlags, MtBenchTableFlags } from '../runs/run-mt-bench.js';
import type { AddCommand } from './add-command.js';
import { REVISION_FLAG } from './common-flags.js';

const MODEL: readonly FlagSpec[] = [
  { name: 'model', value: '<dir|id>', description: 'base model, a directory or an id on the hub', required: true },
  { name: 'adapter', value: '<dir>', description: 'adapter that is merged into it' },
  { name: 'allow_other_base', description: 'use the adapter although it was trained on other weights' },
  REVISION_FLAG,
];
const sampling = (temperature: number, topP: number): FlagSpec[] => [
  {
    name: 'temperature',
    value: '<t>',
    description: `0 for the likeliest token (default: ${temperature})`,
    parse: numberBetween(0, Infinity),
  },
  {
    name: 'top_p',
    value: '<p>',
    description: `share of the probability that is drawn from (default: ${topP})`,
    parse: numberBetween(0.0001, 1),
  },
  { name: 'seed', value: '<n>', description: 'seed of the draws (default: 42)', parse: naturalNumber },
];
const number = (name: string, description: string): FlagSpec => ({
  name,
  value: '<n>',
  description,
  parse: positiveInteger,
});

export const addHumanEvalCommand: AddCommand = (program, context) => {
  const command = program
    .command('humaneval')
    .description('HumanEval: write completions for EvalPlus; generated code is never run here');
  addFlags(command, [
    ...MODEL,
    { name: 'problems', value: '<file>', description: 'HumanEval.jsonl(.gz) (default: downloaded once)' },
    {
      name: 'out',
      value: '<file>',
      description: 'JSON lines of task_id and solution (default: generated_completions.jsonl)',
    },
    number('samples', 'completions of each problem (default: 1)'),
    number('limit', 'so many problems'),
    ...sampling(0.8, 0.95),
    number('max_new_tokens', 'longest completion (default: 512)'),
    number('batch_size', 'prompts at a time (default: 8)'),
  ]);
  command.action(async (_: unknown, self: Command) => {
    const { output, backend } = context(self);
    const { runHumanEval } = await import('../runs/run-humaneval.js');
    const defaults = { out: 'generated_completions.jsonl', samples: 1, temperature: 0.8, topP: 0.95, seed: 42 };
    const more = { maxNewTokens: 512, batchSize: 8 };
    await runHumanEval({ ...defaults, ...more, ...self.opts() } as HumanEvalFlags, backend, output);
  });
};

export const addMtBenchCommand: AddCommand = (program, context) => {
  const command = program
    .command('mt-bench')
    .description('MT-Bench: the table of a judgment file by category; answers of a model in FastChat’s form');
  addFlags(command, [
    {
      name: 'judgment',
      value: '<file>',
      description: 'gpt-4_single.jsonl, as FastChat’s judge writes it',
      aliases: ['judgement'],
    },
    { name: 'question', value: '<file>', description: 'FastChat’s question.jsonl' },
    { name: 'as_published', description: 'average every line, -1 too, as the original does' },
    {
      name: 'all_judgments',
      description: 'every judgment with a rating, not the last of each question and turn alone',
    },
    { name: 'csv', value: '<file>', description: 'write the table as CSV' },
    { name: 'json', value: '<file>', description: 'write it as JSON; - for stdout' },
  ]);
  command.action(async (_: unknown, self: Command) => {
    const { output } = context(self);
    const { runMtBenchTable } = await import('../runs/run-mt-bench.js');
    const { judgment, question, ...rest } = self.opts<Partial<MtBenchTableFlags>>();
    if (judgment === undefined || question === undefined) {
      self.error(`error: required option '--${judgment === undefined ? 'judgment' : 'question'} <file>' not specified`);
    }
    await runMtBenchTable({ ...rest, judgment, question } as MtBenchTableFlags, output);
  });
  addAnswers(command, context);
};

const addAnswers: AddCommand = (program, context) => {
  const command = program
    .command('answers')
    .description('a model’s answers, two turns of each question, in FastChat’s form');
  addFlags(command, [
    ...MODEL,
    { name: 'question', value: '<file>', description: 'FastChat’s question.jsonl' },
    { name: 'out', value: '<file>', description: 'answers as JSON lines (default: model_answer.jsonl)' },
    { name: 'model_id', value: '<name>', description: 'name of the model in the file (default: adapter or model)' },
    {
      name: 'template',
      value: '<name>',
      description: 'prompt template (default: the adapter’s, else the chat template)',
    },
    { name: 'seed', value: '<n>', description: 'seed of the draws (default: 42)', parse: naturalNumber },
    number('max_new_tokens', 'longest answer (default: 1024)'),
    number('limit', 'so many questions'),
  ]);
  command.action(async (_: unknown, self: Command) => {
    const { output, backend } = context(self);
    const { runMtBenchAnswers } = await import('../runs/run-mt-bench.js');
    // The command above takes --question, wherever it stands.
    const given = self.optsWithGlobals<Partial<MtBenchAnswersFlags>>();
    if (given.question === undefined) self.error("error: required option '--question <file>' not specified");
    const defaults = { out: 'model_answer.jsonl', seed: 42, maxNewTokens: 1024 };
    await runMtBenchAnswers({ ...defaults, ...given } as MtBenchAnswersFlags, backend, output);
  });
};

export const addArcCommand: AddCommand = (program, context) => {
  const command = program
    .command('arc')
    .description('ARC-AGI by transduction: samples for every test input, pass@k by input and by task, a page of grids');
  addFlags(command, [
    ...MODEL,
    { name: 'tasks', value: '<dir>', description: 'directory of ARC’s task files', required: true },
    { name: 'out', value: '<dir>', description: 'predictions.jsonl, score.json, grids.html (default: arc_output)' },
    number('samples', 'samples of each test input (default: 2, what the benchmark allows)'),
    number('limit', 'so many tasks'),
    ...sampling(1, 0.9),
    number('top_k', 'draw among so many tokens (default: 50)'),
    number('max_new_tokens', 'longest answer (default: 2048)'),
    { name: 'skip_bad_rows', description: 'leave files out that are no tasks' },
  ]);
  command.action(async (_: unknown, self: Command) => {
    const { output, backend } = context(self);
    const { runArc } = await import('../runs/run-arc.js');
    const defaults = {
      out: 'arc_output',
      samples: 2,
      temperature: 1,
      topP: 0.9,
      topK: 50,
      seed: 42,
      maxNewTokens: 2048,
    };
    await runArc({ ...defaults, ...self.opts() } as ArcFlags, backend, output);
  });
};
