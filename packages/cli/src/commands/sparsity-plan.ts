/** @file `spft sparsity plan`: a sparsity file for a model and data of one's own. */
import { InvalidArgumentError } from 'commander';
import { addFlags, naturalNumber, numberBetween, positiveInteger } from '../flags.js';
import type { PlanCommand } from '../runs/run-plan.js';
import type { AddCommand } from './add-command.js';
import { MODEL_FLAG, REVISION_FLAG } from './common-flags.js';

const numbers = (test: (value: number) => boolean, wanted: string) => (text: string) => {
  const values = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (values.every(test)) return values;
  throw new InvalidArgumentError(`Wanted ${wanted}, joined by commas.`);
};

export const addSparsityCommand: AddCommand = (program, context) => {
  const sparsity = program.command('sparsity').description('work with sparsity files');
  const command = sparsity
    .command('plan')
    .description('measure how sensitive each layer is, and write the sparsity file of least loss within a budget')
    .addHelpText(
      'after',
      `
What was measured is kept, so an interrupted plan goes on, and another budget is quick.
spft train --sparsity auto:0.6 plans and trains in one go.`,
    );
  addFlags(command, [
    MODEL_FLAG,
    {
      name: 'dataset',
      value: '<data>',
      description: 'the training data: file, name, or id on the hub',
      required: true,
    },
    {
      name: 'out',
      value: '<file>',
      description: 'sparsity file to write; the map lies beside it as .html',
      required: true,
    },
    {
      name: 'flops',
      value: '<share>',
      description: "budget: share of a dense run's FLOPs, e.g. 0.6; steps that are dense are counted",
      parse: numberBetween(0, 1),
    },
    {
      name: 'time',
      value: '<share>',
      description: "or: share of a dense run's time on this backend, e.g. 0.8; what is not faster here stays dense",
      parse: numberBetween(0, 1),
    },
    {
      name: 'max_loss',
      value: '<rise>',
      description: 'or: how much the loss before training may rise, e.g. 0.05; the least FLOPs within it are found',
      parse: numberBetween(0, Number.POSITIVE_INFINITY),
    },
    { name: 'estimator', value: '<mode>', description: 'who chooses channels (default: calibrated_8)' },
    {
      name: 'levels',
      value: '<s,s>',
      description: 'sparsities that are tried (default: 0.5,0.75,0.9)',
      parse: numbers((s) => s > 0 && s < 1, 'sparsities between 0 and 1'),
    },
    {
      name: 'tails',
      value: '<n,n>',
      description: 'dense tokens at the end of each prompt that are tried (default: 8,16,32)',
      parse: numbers((n) => Number.isInteger(n) && n >= 0, 'whole numbers'),
    },
    {
      name: 'compensation_rank',
      value: '<r>',
      description:
        'plan for a run in which maps of this rank replace what dropped MLP channels would have given (default: 0, none)',
      parse: naturalNumber,
    },
    {
      name: 'samples',
      value: '<n>',
      description: 'samples that are measured on (default: 16)',
      parse: positiveInteger,
    },
    {
      name: 'start_step',
      value: '<share>',
      description: 'the run will be dense until here, e.g. 0.1 (default: 0)',
      parse: numberBetween(0, 1),
    },
    {
      name: 'end_step',
      value: '<share>',
      description: 'the run will be dense from here on, e.g. 0.9 (default: 1)',
      parse: numberBetween(0, 1),
    },
    { name: 'config', value: '<file>', description: 'training file: the adapter and batch that FLOPs are counted for' },
    { name: 'lora_r', value: '<n>', description: 'rank of the adapter, over the file', parse: positiveInteger },
    { name: 'lora_target_modules', value: '<a,b>', description: 'layers with an adapter, over the file' },
    { name: 'template', value: '<name>', description: 'prompt template (default: sparselora)' },
    {
      name: 'model_max_length',
      value: '<n>',
      description: 'longest sample in tokens (default: 512)',
      parse: positiveInteger,
    },
    { name: 'fresh_times', description: 'measure times again that an earlier plan measured' },
    { name: 'overwrite', description: 'replace the files if they are there' },
    REVISION_FLAG,
    { name: 'json', value: '<file>', description: 'write the numbers as JSON; - for stdout' },
  ]);
  command.action(async (flags: PlanCommand, self) => {
    const { output, backend } = context(self);
    const { runPlan } = await import('../runs/run-plan.js');
    await runPlan({ ...flags, backend }, output);
  });
};
