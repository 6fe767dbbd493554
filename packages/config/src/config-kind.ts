/** @file Which kind of config a file is, for commands that take either. */
import { SCHEMAS } from './json-schema.js';

export type ConfigKind = 'sparsity' | 'train';

const SPARSITY_NAMES = new Set(
  [SCHEMAS.sparsity, SCHEMAS.hub, SCHEMAS['hub-run']].flatMap((schema) => Object.keys(schema.properties!)),
);
const TRAIN_NAMES = new Set(Object.keys(SCHEMAS.train.properties!));

/** The kind that knows more of the keys; so a file with a misspelt key is still told by the others. */
export function configKindOf(value: Readonly<Record<string, unknown>>): ConfigKind {
  const keys = Object.keys(value);
  const sparsity = keys.filter((key) => SPARSITY_NAMES.has(key)).length;
  return sparsity > keys.filter((key) => TRAIN_NAMES.has(key)).length ? 'sparsity' : 'train';
}
