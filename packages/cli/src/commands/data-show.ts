/** @file `spft data show`: what rows of a data set become, token by token, before a run is spent on them. */
import type { Command } from 'commander';
import { addFlags, positiveInteger } from '../flags.js';
import type { DataShowFlags } from '../runs/run-data-show.js';
import type { AddCommand } from './add-command.js';

export const addDataCommand: AddCommand = (program, context) => {
  const data = program.command('data').description('look at data sets');
  const show = data
    .command('show')
    .description('print a few samples of a data set as a run would see them: the tokens that carry loss are coloured')
    .argument('<dataset>', 'what --dataset of spft train takes')
    .addHelpText('after', EXAMPLES);
  addFlags(show, [
    { name: 'model', value: '<dir|id>', description: 'whose tokenizer and chat template (without: rows alone)' },
    { name: 'template', value: '<name>', description: 'prompt template, as for spft train' },
    { name: 'chat_template_format', value: '<jinja>', description: 'chat template that replaces the tokenizer’s' },
    { name: 'samples', value: '<n>', description: 'how many rows (default: 3)', parse: positiveInteger },
    {
      name: 'max_length',
      value: '<n>',
      description: 'model_max_length of the run (default: 512)',
      parse: positiveInteger,
    },
    { name: 'dataset_config', value: '<name>', description: 'subset, e.g. rte' },
    { name: 'dataset_revision', value: '<name>', description: 'branch, tag or commit on the hub' },
    { name: 'dataset_columns', value: '<a=b,…>', description: 'what the columns stand for: FIELD=COLUMN' },
    { name: 'dataset_text_field', value: '<name>', description: 'column of bare text (default: text)' },
    { name: 'split', value: '<name>', description: 'which split (default: train)' },
    { name: 'skip_bad_rows', description: 'leave rows out that cannot be read' },
    { name: 'json', value: '<file>', description: 'write ids, labels and texts as JSON; - for stdout' },
  ]);
  show.action(async (dataset: string, _: unknown, self: Command) => {
    const { output } = context(self);
    const { runDataShow } = await import('../runs/run-data-show.js');
    await runDataShow(dataset, { samples: 3, split: 'train', ...self.opts<Partial<DataShowFlags>>() }, output);
  });
};

const EXAMPLES = `
Examples:
  spft data show chats.jsonl --model ./Llama-3.2-1B-Instruct
  spft data show openai/gsm8k --dataset_config main --split test --model ./base --template alpaca`;
