/** @file `spft merge`: base and adapter as one model that transformers loads. */
import { addFlags, oneOf } from '../flags.js';
import type { MergeRequest } from '../runs/run-merge.js';
import type { AddCommand } from './add-command.js';
import { MODEL_FLAG, REVISION_FLAG } from './common-flags.js';

export const addMergeCommand: AddCommand = (program, context) => {
  const command = program
    .command('merge')
    .description('write a model directory with the adapter merged into the weights');
  addFlags(command, [
    MODEL_FLAG,
    {
      name: 'adapter',
      value: '<dir>',
      description:
        'directory of the adapter; several joined by + are added linearly, as PEFT’s add_weighted_adapter does',
      required: true,
    },
    { name: 'weights', value: '<a,b>', description: 'a weight for each of several adapters (default: 1 for each)' },
    {
      name: 'out',
      value: '<dir>',
      description: 'directory to write, which appears whole or not at all',
      required: true,
    },
    {
      name: 'dtype',
      value: '<bf16|f32>',
      description: "type of the weights (default: f32 where the base's are, else bf16)",
      parse: oneOf('bf16', 'f32'),
    },
    {
      name: 'onto',
      value: '<full|dequantised>',
      description:
        'of an adapter trained on weights in 4 bits: the base as it is, or what its codes stand for (default: full where the base is)',
      parse: oneOf('full', 'dequantised'),
    },
    {
      name: 'bnb_4bit_quant_type',
      value: '<nf4|fp4>',
      description: 'the codes that the adapter was trained on, where its directory does not say',
      parse: oneOf('nf4', 'fp4'),
    },
    { name: 'bnb_4bit_use_double_quant', description: 'and with their scales in 8 bits' },
    { name: 'bnb_4bit_embeddings', description: 'and with embedding and head in codes too' },
    {
      name: 'modules_to_not_convert',
      value: '<names>',
      description: 'and the layers that were no codes, joined by commas',
      parse: (text) => text.split(','),
    },
    { name: 'force', description: 'replace a model that is there' },
    REVISION_FLAG,
    { name: 'allow_other_base', description: 'merge although the adapter was trained on other weights' },
  ]);
  command.action(async (flags: MergeRequest, self) => {
    const { output, backend } = context(self);
    const { runMerge } = await import('../runs/run-merge.js');
    await runMerge({ ...flags, backend }, output);
  });
};
