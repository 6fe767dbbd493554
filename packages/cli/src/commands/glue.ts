/** @file `spft glue`: GLUE's tasks by a classification head and an adapter, over several seeds, dense or sparse. */
import type { Command } from 'commander';
import { addFlags, positiveInteger } from '../flags.js';
import type { GlueFlags } from '../runs/run-glue.js';
import type { AddCommand } from './add-command.js';
import { OVERWRITE_FLAG, REVISION_FLAG } from './common-flags.js';
import { addTrainingKeys, splitFlags } from './train.js';

export const addGlueCommand: AddCommand = (program, context) => {
  const command = program
    .command('glue')
    .description(
      'GLUE: fine-tune a classification head and an adapter on each task with several seeds; a table of means',
    )
    .addHelpText('after', EXAMPLES);
  addFlags(command, [
    { name: 'tasks', value: '<a,b>', description: 'rte, cola, stsb, sst2, qnli, mrpc, mnli, qqp, wnli (default: all)' },
    { name: 'seeds', value: '<n,n>', description: 'seeds (default: 42,43,44,45,46)' },
    {
      name: 'data',
      value: '<dir|id>',
      description: "directory of GLUE's own files, or a data set on the hub (default: nyu-mll/glue)",
    },
    {
      name: 'train_file',
      value: '<file>',
      description: 'training rows of your own, in any format, with the columns of the task',
    },
    { name: 'validation_file', value: '<file>', description: 'rows of your own to evaluate on' },
    { name: 'max_train_samples', value: '<n>', description: 'so many training rows', parse: positiveInteger },
    { name: 'max_val_samples', value: '<n>', description: 'so many rows of each evaluation', parse: positiveInteger },
    {
      name: 'sparse_eval',
      description: 'evaluate sparsely too, as the original does: a row’s prediction then depends on its batch',
    },
    { name: 'config', value: '<file>', description: 'training file (configs/train); flags override it' },
    { name: 'sparsity_mode', value: '<o1|o2>', description: 'mode of a sparsity config in the hub layout' },
    OVERWRITE_FLAG,
    REVISION_FLAG,
    { name: 'json', value: '<file>', description: 'write the summary as JSON; - for stdout' },
  ]);
  addTrainingKeys(command);
  command.action(async (_: unknown, self: Command) => {
    const { output, backend } = context(self);
    const { runGlue } = await import('../runs/run-glue.js');
    await runGlue(splitFlags(self) as GlueFlags, backend, output);
  });
};

const EXAMPLES = `
Examples:
  spft glue --model ./Llama-3.2-1B --tasks rte,mrpc --seeds 42,43,44 --sparsity my-sparsity.yaml
  spft glue --model ./base --tasks sst2 --data ./glue_data --max_train_samples 2000 --num_train_epochs 1

Defaults of the original: rate 5e-5, batch 8, 128 tokens, 3 epochs (5 for mrpc and wnli), evaluation after each epoch.
Evaluation is dense. A directory task/seed gets the adapter with its head and the results; summary.json and summary.md the means.`;
