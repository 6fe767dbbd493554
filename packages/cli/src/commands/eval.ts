/** @file `spft eval`: accuracy on evaluation sets, by generation. */
import { addFlags, naturalNumber, positiveInteger } from '../flags.js';
import type { EvalRequest } from '../runs/run-eval.js';
import type { AddCommand } from './add-command.js';
import { MODEL_FLAG, REVISION_FLAG } from './common-flags.js';

export const addEvalCommand: AddCommand = (program, context) => {
  const command = program
    .command('eval')
    .description('evaluate a model, with an adapter if one is given, by generation');
  addFlags(command, [
    MODEL_FLAG,
    { name: 'adapter', value: '<dir>', description: 'directory of an adapter; none evaluates the base' },
    {
      name: 'dataset',
      aliases: ['eval_dataset'],
      value: '<sets>',
      description: 'evaluation sets joined by +: gsm8k+mawps, files, or boolq=FILE',
      required: true,
    },
    { name: 'limit', value: '<n>', description: 'so many questions of each set', parse: positiveInteger },
    {
      name: 'seed',
      value: '<n>',
      description: 'draws the questions under --limit; without it the first ones are taken',
      parse: naturalNumber,
    },
    {
      name: 'batch_size',
      value: '<n>',
      description: 'questions answered together (default: 8)',
      parse: positiveInteger,
    },
    {
      name: 'max_new_tokens',
      value: '<n>',
      description: 'longest answer (default: 256 for arithmetic, 32 for choices)',
      parse: positiveInteger,
    },
    { name: 'template', value: '<name>', description: "prompt template (default: the adapter's own, else sparselora)" },
    {
      name: 'sparsity',
      value: '<file>',
      description:
        'read the questions as a sparse training step would, by this file (default: all channels, as adapters are used)',
    },
    {
      name: 'calibration',
      value: '<data>',
      description: 'data to fit predictors to, where the file has a calibrated mode: the training data',
    },
    {
      name: 'model_max_length',
      value: '<n>',
      description: 'with --calibration: longest sample in tokens, as it was in training (default: 512)',
      parse: positiveInteger,
    },
    { name: 'skip_bad_rows', description: 'skip and count rows that cannot be read' },
    { name: 'json', value: '<file>', description: 'write a summary as JSON; - for stdout' },
    { name: 'predictions', value: '<file>', description: 'write every question, output and verdict as JSON lines' },
    REVISION_FLAG,
    { name: 'allow_other_base', description: 'use the adapter although it was trained on other weights' },
  ]);
  command.action(async (flags: EvalRequest, self) => {
    const { output, backend } = context(self);
    const { runEval } = await import('../runs/run-eval.js');
    await runEval({ ...flags, backend }, output);
  });
};
