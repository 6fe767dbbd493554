/** @file `spft speed`: methods beside each other, in turns, on real batches. */
import type { Command } from 'commander';
import { addFlags, naturalNumber, positiveInteger } from '../flags.js';
import type { SpeedFlags } from '../runs/run-speed.js';
import type { AddCommand } from './add-command.js';
import { REVISION_FLAG } from './common-flags.js';
import { addTrainingKeys, splitFlags } from './train.js';

export const addSpeedCommand: AddCommand = (program, context) => {
  const command = program
    .command('speed')
    .description('measure training steps of several methods in turns: time with intervals, FLOPs, memory')
    .addHelpText('after', EXAMPLES);
  addFlags(command, [
    {
      name: 'methods',
      value: '<a,b>',
      description:
        'of lora, dora, qlora, qdora, and each with sparse before it (default: lora,dora, and sparselora with --sparsity)',
    },
    {
      name: 'shape',
      value: '<name>',
      description:
        'random weights of this shape instead of --model: llama3-8b, llama3.2-1b, llama2-7b, llama2-13b, tinyllama-1.1b, smollm2-135m, quickstart',
    },
    {
      name: 'tokenizer',
      value: '<dir|id>',
      description:
        'with --shape, whose tokens the rows are made of (default: rows of the lengths of the original’s script)',
    },
    { name: 'warmup', value: '<n>', description: 'steps of each run before (default: 20)', parse: naturalNumber },
    { name: 'steps', value: '<n>', description: 'timed steps of each run (default: 50)', parse: positiveInteger },
    { name: 'runs', value: '<n>', description: 'runs of each method (default: 5)', parse: positiveInteger },
    { name: 'config', value: '<file>', description: 'training file (configs/train); flags override it' },
    { name: 'sparsity_mode', value: '<o1|o2>', description: 'mode of a sparsity config in the hub layout' },
    { name: 'template', value: '<name>', description: 'prompt template, as of spft train' },
    REVISION_FLAG,
    { name: 'picture', value: '<file.svg>', description: 'write the times as a bar chart' },
    { name: 'json', value: '<file>', description: 'write every step’s time and the rest as JSON; - for stdout' },
  ]);
  addTrainingKeys(command);
  command.action(async (_: unknown, self: Command) => {
    const { output, backend } = context(self);
    const { runSpeed } = await import('../runs/run-speed.js');
    await runSpeed(splitFlags(self) as SpeedFlags, backend, output);
  });
};

const EXAMPLES = `
Examples:
  spft speed --model ./Llama-3.2-1B --sparsity my-sparsity.yaml --dataset math10k --picture speed.svg
  spft speed --shape llama3-8b --sparsity configs/sparsity/llama3-8b-math10k.yaml --dataset math10k --json speed.json

In each run the methods take turns, on the same batches in the same order; the seed differs from run to run.`;
