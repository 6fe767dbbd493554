/**
 * @file Validation by what ajv compiled ahead (`validators/compile.mjs`), and its errors turned into sentences: one problem per value, with what is allowed, what was found, and the
 * nearest valid name.
 */
import { nearestName } from '@spft/safetensors/internals';
import type { ErrorObject } from 'ajv';
import type { ConfigProblem } from './config-error.js';
import { type JsonSchema, SCHEMAS, type SchemaName } from './json-schema.js';
import { snakeCase, TEXT_PATTERN } from './key-table.js';
import { type ConfigSource, describeValue } from './source-text.js';
import { KNOWN_MODES } from './sparsity-config.js';
import * as compiled from './validators.generated.js';

/** A function that ajv compiled; what is wrong with the value that it saw last. */
interface Validator {
  (value: unknown): boolean;
  readonly errors?: readonly ErrorObject[] | null;
}

const VALIDATORS: Readonly<Record<SchemaName, Validator>> = {
  train: compiled.validate_train,
  sparsity: compiled.validate_sparsity,
  hub: compiled.validate_hub,
  'hub-run': compiled.validate_hub_run,
};

/** Names that people use for training keys in other programs and in older versions of transformers. */
const SYNONYMS: Readonly<Record<string, string>> = {
  batch_size: 'per_device_train_batch_size',
  epochs: 'num_train_epochs',
  num_epochs: 'num_train_epochs',
  lr: 'learning_rate',
  model: 'model_name_or_path',
  model_id: 'model_name_or_path',
  evaluation_strategy: 'eval_strategy',
  lora_rank: 'lora_r',
  rank: 'lora_r',
  target_modules: 'lora_target_modules',
  max_length: 'max_seq_length',
};

/**
 * Everything that is wrong with a value.
 * @param prefix put before the key in the problem's path: `--` for flags.
 */
export function validate(name: SchemaName, value: unknown, source: ConfigSource, prefix = ''): ConfigProblem[] {
  const check = VALIDATORS[name];
  if (check(value)) return [];
  const problems = new Map<string, ConfigProblem>();
  for (const error of check.errors!) {
    const path = pathOf(error);
    const message = messageOf(error, name);
    const key = path.join('\0');
    if (problems.has(key)) continue;
    const shown = prefix && path.length > 0 ? [prefix + path[0], ...path.slice(1)] : path;
    problems.set(key, { file: source.file, line: source.lineOf(path), path: shown, message });
  }
  return [...problems.values()].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
}

/** Keys from the root to the value that is wrong; to the key itself where the key is. */
function pathOf(error: ErrorObject): string[] {
  const path = error.instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replace(/~1/g, '/').replace(/~0/g, '~'));
  return error.keyword === 'additionalProperties' ? [...path, error.params.additionalProperty as string] : path;
}

function messageOf(error: ErrorObject, name: SchemaName): string {
  const schema = error.parentSchema as JsonSchema;
  if (error.keyword === 'additionalProperties')
    return unknownKey(error.params.additionalProperty as string, schema, name);
  if (error.keyword === 'required') return `the key ${error.params.missingProperty as string} is missing`;
  if (error.keyword === 'minProperties') return 'expected at least one key, found none';
  return `expected ${expectation(schema, error.data)}, found ${describeValue(error.data)}${hint(schema, error.data)}`;
}

function unknownKey(key: string, schema: JsonSchema, name: SchemaName): string {
  const other = otherKind(key, name);
  if (other) return `this key ${other}`;
  const isLayer = schema.patternProperties !== undefined;
  const names = isLayer ? layerNames(key) : Object.keys(schema.properties ?? {});
  const candidate = SYNONYMS[snakeCase(key)];
  const meant = candidate !== undefined && names.includes(candidate) ? candidate : nearestName(snakeCase(key), names);
  const what = isLayer ? 'this is not the name of a layer' : 'there is no such key';
  const allowed = isLayer ? 'layers.N.mlp, layers.N.self_attn' : names.join(', ');
  return meant
    ? `${what}; did you mean ${meant}? Allowed: ${isLayer ? allowed : group(meant, names)}`
    : `${what}. Allowed: ${allowed}`;
}

/** A few keys around the one that was meant, so that a message about one of sixty keys stays readable. */
function group(meant: string, names: readonly string[]): string {
  if (names.length <= 30) return names.join(', ');
  return `${names.length} keys, listed by spft train --help; similar ones: ${names
    .filter((name) => name.split('_').some((word) => word.length > 3 && meant.includes(word)))
    .slice(0, 6)
    .join(', ')}`;
}

/** The two layers with the number that was written, or layer 0. */
function layerNames(key: string): string[] {
  const index = /\d+/.exec(key)?.[0] ?? '0';
  return [`layers.${Number(index)}.mlp`, `layers.${Number(index)}.self_attn`];
}

/** A key of a training file in a sparsity file, or the other way round. */
function otherKind(key: string, name: SchemaName): string | null {
  const inTrain = Object.hasOwn(SCHEMAS.train.properties!, key);
  if (name === 'sparsity' && inTrain)
    return 'belongs in a training file (configs/train) or a flag, not into a sparsity file';
  if (name !== 'train' || !Object.hasOwn(SCHEMAS.sparsity.properties!, key)) return null;
  const here = `spft_${key}`;
  const instead = Object.hasOwn(SCHEMAS.train.properties!, here) ? `; here it is called ${here}` : '';
  return `belongs in a sparsity file (configs/sparsity)${instead}`;
}

/** What a schema allows, in words. */
function expectation(schema: JsonSchema, found: unknown): string {
  const types = typeof schema.type === 'string' ? [schema.type] : [...(schema.type ?? [])];
  const orNone = types.includes('null') ? ' (or none)' : '';
  if (schema.enum) return `one of ${schema.enum.filter((value) => value !== null).join(', ')}${orNone}`;
  if (schema.pattern === TEXT_PATTERN && typeof found === 'string') return `a string that is not empty${orNone}`;
  if (schema.pattern && schema.pattern !== TEXT_PATTERN)
    return `a name without spaces, such as ${KNOWN_MODES.join(', ')}`;
  if (types.includes('array')) {
    const items = schema.items?.enum ? ` from ${schema.items.enum.join(', ')}` : '';
    return `a list of strings${items}, or one string joined by commas`;
  }
  const names: Record<string, string> = {
    boolean: 'true or false',
    integer: 'a whole number',
    number: 'a number',
    string: 'a string',
    object: 'keys with values',
  };
  return `${names[types[0]!]}${range(schema)}${orNone}`;
}

function range({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: JsonSchema): string {
  const low =
    minimum !== undefined
      ? `of at least ${minimum}`
      : exclusiveMinimum !== undefined
        ? `above ${exclusiveMinimum}`
        : '';
  const high =
    maximum !== undefined ? `at most ${maximum}` : exclusiveMaximum !== undefined ? `below ${exclusiveMaximum}` : '';
  return low || high ? ` ${[low, high].filter(Boolean).join(' and ')}` : '';
}

/** How to mend a value, where that can be told. */
function hint(schema: JsonSchema, value: unknown): string {
  const types = Array.isArray(schema.type) ? (schema.type as string[]) : [schema.type as string];
  if (schema.enum && typeof value === 'string') {
    const meant = nearestName(
      value,
      schema.enum.filter((item): item is string => item !== null),
    );
    return meant ? `; did you mean ${meant}?` : '';
  }
  if (schema.enum && value === false) return '; write "no" in quotes';
  if (typeof value === 'string' && (types.includes('number') || types.includes('integer'))) {
    return value.trim() !== '' && Number.isFinite(Number(value)) ? '; remove the quotes' : '';
  }
  if (typeof value === 'string' && types[0] === 'boolean') {
    if (/^(true|t|yes|y|on|1)$/i.test(value)) return '; write true, without quotes';
    return /^(false|f|no|n|off|0)$/i.test(value) ? '; write false, without quotes' : '';
  }
  if (types[0] === 'string' && typeof value === 'number') return '; put it in quotes';
  return '';
}
