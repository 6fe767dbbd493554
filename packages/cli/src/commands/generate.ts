/** @file `spft generate`: text from a model, with an adapter if one is given. */
import { addFlags, naturalNumber, numberBetween, positiveInteger } from '../flags.js';
import type { GenerateRequest } from '../runs/run-generate.js';
import type { AddCommand } from './add-command.js';
import { MODEL_FLAG, REVISION_FLAG } from './common-flags.js';

type GenerateFlags = Omit<GenerateRequest, 'backend'>;

export const addGenerateCommand: AddCommand = (program, context) => {
  const command = program
    .command('generate')
    .description('continue a prompt, lines of stdin, or a chat')
    .addHelpText(
      'after',
      '\nOne prompt is streamed; of stdin each line is a prompt, answered in batches, one answer a line.\n' +
        'Without --temperature, --top_p and --top_k the likeliest token is taken each time.',
    );
  addFlags(command, [
    MODEL_FLAG,
    { name: 'adapter', value: '<dir>', description: 'directory of an adapter' },
    { name: 'prompt', value: '<text>', description: 'text to continue; default: lines of stdin', mayBeEmpty: true },
    { name: 'chat', description: "a conversation by the model's chat template: one message a line, streamed answers" },
    {
      name: 'template',
      value: '<name>',
      description:
        "prompt template around the text; default: the adapter's own, none for a base model; 'none' for none",
    },
    { name: 'max_new_tokens', value: '<n>', description: 'longest answer (default: 256)', parse: positiveInteger },
    {
      name: 'temperature',
      value: '<number>',
      description: '0: likeliest token; else divides the logits (default: 0)',
      parse: numberBetween(0, 100),
    },
    {
      name: 'top_p',
      value: '<fraction>',
      description: 'draw among the fewest tokens that hold this probability',
      parse: numberBetween(1e-9, 1),
    },
    { name: 'top_k', value: '<n>', description: 'draw among the k likeliest tokens', parse: positiveInteger },
    { name: 'seed', value: '<n>', description: 'of the draws (default: 0)', parse: naturalNumber },
    {
      name: 'batch_size',
      value: '<n>',
      description: 'lines of stdin answered together (default: 8)',
      parse: positiveInteger,
    },
    REVISION_FLAG,
    { name: 'allow_other_base', description: 'use the adapter although it was trained on other weights' },
  ]);
  command.action(async (flags: GenerateFlags, self) => {
    const { output, backend } = context(self);
    const { runGenerate } = await import('../runs/run-generate.js');
    await runGenerate({ ...flags, backend }, output);
  });
};
