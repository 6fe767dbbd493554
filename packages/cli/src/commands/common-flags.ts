/** @file Flags that several commands have. */
import type { FlagSpec } from '../flags.js';

/** The model that a command works on. */
export const MODEL_FLAG: FlagSpec = {
  name: 'model',
  aliases: ['model_name_or_path'],
  key: 'modelNameOrPath',
  value: '<dir>',
  description: 'directory of a model, a GGUF file, or an id on the hub',
  required: true,
};

/** Of that model. */
export const REVISION_FLAG: FlagSpec = {
  name: 'revision',
  value: '<name>',
  description: 'branch, tag or commit of the model on the hub',
};

export const OVERWRITE_FLAG: FlagSpec = {
  name: 'overwrite_output_dir',
  description: 'replace an earlier run in output_dir',
};
