/** @file `spft train`: every training key is a flag, in upstream's spelling and with dashes, and overrides the file. */
import { snakeCase, TRAIN_KEYS, type TrainKey, type TrainKeyRow, trainKeyRows } from '@spft/config';
import type { Command } from 'commander';
import { addFlag, addFlags, type FlagSpec, positiveInteger } from '../flags.js';
import type { TrainFlags } from '../runs/run-train.js';
import type { AddCommand } from './add-command.js';
import { OVERWRITE_FLAG, REVISION_FLAG } from './common-flags.js';

/** Where a group of keys begins in the table, and its title. */
const GROUPS: Readonly<Partial<Record<TrainKey, string>>> = {
  modelNameOrPath: 'Model and data:',
  numTrainEpochs: 'Length of the run and batches:',
  optim: 'Optimizer and schedule:',
  outputDir: 'Logging, evaluation, checkpoints:',
  seed: 'Randomness, precision, machine:',
  peft: 'Adapter:',
  spft: 'Sparsity:',
  evalOnly: 'Kinds of run:',
};

/** Short names for the two keys that every command line has. */
const SHORT: Readonly<Partial<Record<TrainKey, string>>> = { modelNameOrPath: 'model', spft: 'sparsity' };

export const addTrainCommand: AddCommand = (program, context) => {
  const command = program
    .command('train')
    .description('fine-tune a model: LoRA, DoRA or SparseLoRA; saves an adapter that PEFT reads')
    .addHelpText('after', EXAMPLES);
  addFlags(command, [
    { name: 'config', value: '<file>', description: 'training file (configs/train); flags override it' },
    {
      name: 'sparsity_mode',
      value: '<o1|o2>',
      description: 'mode of a sparsity config in the hub layout (default: o1)',
    },
    {
      name: 'template',
      value: '<name>',
      description:
        'prompt template: sparselora, alpaca, plain, chat, none (default: sparselora; chat with chat_template_format)',
    },
    {
      name: 'validation',
      value: '<file|n>',
      description: 'held-out samples for eval_strategy: a file, or how many (below 1: which fraction) of the rows',
    },
    {
      name: 'eval_limit',
      value: '<n>',
      description: 'so many questions of each set of eval_dataset',
      parse: positiveInteger,
    },
    {
      name: 'save_merged',
      description: 'also write base and adapter as one model to merged/ in output_dir (--dataset wizardlm does)',
    },
    OVERWRITE_FLAG,
    REVISION_FLAG,
    {
      name: 'dry_run',
      description:
        'print rank, host, device and share of the data of each process, and what the run would be, then end',
    },
    { name: 'json', value: '<file>', description: 'write a summary as JSON; - for stdout' },
  ]);
  addTrainingKeys(command);
  command.action(async (_: unknown, self: Command) => {
    const { output, backend } = context(self);
    const { runTrain } = await import('../runs/run-train.js');
    await runTrain(splitFlags(self), backend, output);
  });
};

/** Every training key as a flag, in groups. */
export function addTrainingKeys(command: Command): void {
  let group = '';
  for (const row of trainKeyRows()) {
    group = GROUPS[row.key] ?? group;
    addFlag(command, { ...keyFlag(row), group });
  }
}

function keyFlag({ key, name, defaultText, description }: TrainKeyRow): FlagSpec {
  const { type, values, nullable } = TRAIN_KEYS[key] as { type: string; values?: readonly string[]; nullable: boolean };
  const short = SHORT[key];
  const placeholder: Readonly<Record<string, string>> = {
    boolean: '[true|false]',
    integer: '<n>',
    number: '<number>',
    list: '<a,b>',
    string: key === 'resumeFromCheckpoint' ? '[directory]' : '<text>',
  };
  const notes = [
    ...(short ? [`also --${name}`] : []),
    ...(values ? [`one of ${values.join(', ')}`] : []),
    ...(defaultText === null ? (nullable ? [] : ['required']) : [`default: ${defaultText}`]),
  ];
  return {
    name: short ?? name,
    ...(short ? { aliases: [name] } : {}),
    key,
    value: placeholder[type]!,
    mayBeEmpty: type === 'list',
    description: `${description}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`,
  };
}

/** The training keys that were given, and the other flags. */
export function splitFlags(command: Command): TrainFlags {
  const keys: Record<string, string | boolean> = {};
  const rest: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(command.opts<Record<string, unknown>>())) {
    if (value === undefined) continue;
    if (Object.hasOwn(TRAIN_KEYS, key)) keys[snakeCase(key)] = value as string | boolean;
    else rest[key] = value;
  }
  return { ...rest, keys };
}

const EXAMPLES = `
Examples:
  spft train --model ./Llama-3.2-1B --dataset math10k --config configs/train/math10k_train.yaml \\
    --sparsity configs/sparsity/my-model.yaml --output_dir runs/math
  spft train --model ./base --dataset mine.json --peft dora --learning_rate 1e-4 --max_steps 200
  spft train … --resume_from_checkpoint true

  torchrun --no-python --nproc_per_node 8 spft train …   mpirun -n 8 spft train …   srun spft train …

Ctrl-C finishes the step and writes a checkpoint.`;
