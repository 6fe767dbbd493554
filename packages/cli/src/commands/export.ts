/** @file `spft export`: a model, or an adapter alone, as a GGUF file for llama.cpp. */
import type { ExportType } from '@spft/models';
import { addFlags, oneOf } from '../flags.js';
import type { ExportRequest } from '../runs/run-export.js';
import type { AddCommand } from './add-command.js';
import { MODEL_FLAG, REVISION_FLAG } from './common-flags.js';

/** A type import alone: help should not load a backend. */
const TYPES = ['f16', 'bf16', 'f32', 'q8_0', 'q4_0'] as const satisfies readonly ExportType[];

export const addExportCommand: AddCommand = (program, context) => {
  const command = program
    .command('export')
    .description('write a model, or an adapter alone, as a GGUF file for llama.cpp')
    .addHelpText(
      'after',
      '\nThe file has the tokenizer and chat template too. It is read again and compared before it takes its place.\n' +
        'With --lora: the adapter alone, for llama-cli --lora FILE over the base (LoRA alone; DoRA has to be merged).',
    );
  addFlags(command, [
    MODEL_FLAG,
    { name: 'adapter', value: '<dir>', description: 'directory of an adapter; without --lora it is merged' },
    { name: 'gguf', value: '<file>', description: 'file to write, which appears whole or not at all', required: true },
    {
      name: 'type',
      value: '<type>',
      description: `type of the matrices: ${TYPES.join(', ')} (default: f16; with --lora f32, and f16 or bf16 may be chosen)`,
      parse: oneOf(...TYPES),
    },
    { name: 'lora', description: 'write the adapter alone' },
    { name: 'force', description: 'replace a file that is there' },
    REVISION_FLAG,
    { name: 'allow_other_base', description: 'take the adapter although it was trained on other weights' },
  ]);
  command.action(async (flags: ExportRequest, self) => {
    const { output, backend } = context(self);
    const { runExport } = await import('../runs/run-export.js');
    await runExport({ ...flags, backend }, output);
  });
};
