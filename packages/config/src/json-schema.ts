/**
 * @file The JSON Schemas (draft 7) of the four kinds of file. They are what the loader validates against and what the package publishes
 * under `schemas/`, where editors can use them.
 */
import { type KeySpec, type KeyTable, snakeCase } from './key-table.js';
import { LAYER_PATTERN, MODE_PATTERN, SPARSITY_KEYS } from './sparsity-config.js';
import { TRAIN_KEYS } from './train-config.js';

/** The part of JSON Schema that is used here. */
export interface JsonSchema {
  readonly $schema?: string;
  readonly $id?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly (string | null)[];
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly pattern?: string;
  readonly items?: JsonSchema;
  readonly required?: readonly string[];
  readonly minProperties?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly patternProperties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: boolean | JsonSchema;
}

export type SchemaName = 'train' | 'sparsity' | 'hub' | 'hub-run';

const layers: JsonSchema = {
  type: 'object',
  description:
    'Sparsity (fraction of channels dropped) by layer: layers.N.mlp and layers.N.self_attn. Layers not named are dense.',
  patternProperties: { [LAYER_PATTERN]: { type: 'number', minimum: 0, exclusiveMaximum: 1 } },
  additionalProperties: false,
};

const hubKeys = {
  predictor_rank: { type: 'integer', minimum: 0, default: 8, description: 'Rank of the predictors.' },
  predictor_mode: {
    type: 'string',
    pattern: MODE_PATTERN,
    description: 'Mode of the predictors; svd_<rank> where it is not said.',
  },
  calibration_tokens: { type: 'integer', minimum: 1, description: 'Tokens to which the predictors were fitted.' },
  calibration_data: { type: ['string', 'null'], description: 'Tells the data to which the predictors were fitted.' },
  start_step: propertyOf(SPARSITY_KEYS.startStep),
  end_step: propertyOf(SPARSITY_KEYS.endStep),
} satisfies Record<string, JsonSchema>;

/** The schemas by name; `schemas/<name>.schema.json` in the package. */
export const SCHEMAS: Readonly<Record<SchemaName, JsonSchema>> = {
  train: objectSchema('train', 'Training file of SparseLoRA', propertiesOf(TRAIN_KEYS), []),
  sparsity: objectSchema(
    'sparsity',
    'Sparsity file of SparseLoRA',
    { ...propertiesOf(SPARSITY_KEYS), sparsity: layers },
    ['sparsity'],
  ),
  hub: objectSchema(
    'hub',
    'config.json of a SparseLoRA model on the hub',
    {
      base_model: { type: ['string', 'null'], description: 'Hub id of the model that the predictors belong to.' },
      ...hubKeys,
      modes: {
        type: 'object',
        description: 'Sparsities to choose from, by name: o1 (conservative), o2 (aggressive).',
        minProperties: 1,
        additionalProperties: {
          type: 'object',
          properties: { layer_sparsity: layers },
          required: ['layer_sparsity'],
          additionalProperties: false,
        },
      },
    },
    ['modes'],
  ),
  'hub-run': objectSchema(
    'hub-run',
    'sparselora_config.json of a SparseLoRA run: one mode of the hub layout',
    {
      layer_sparsity: layers,
      ...hubKeys,
      path: { type: ['string', 'null'], description: 'Where the predictors are.' },
    },
    ['layer_sparsity'],
  ),
};

function objectSchema(
  name: string,
  title: string,
  properties: Record<string, JsonSchema>,
  required: string[],
): JsonSchema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $id: `urn:spft:config:${name}`,
    title,
    type: 'object',
    properties,
    required,
    additionalProperties: false,
  };
}

function propertiesOf(table: KeyTable): Record<string, JsonSchema> {
  return Object.fromEntries(Object.entries(table).map(([name, spec]) => [snakeCase(name), propertyOf(spec)]));
}

function propertyOf(spec: KeySpec<unknown>): JsonSchema {
  const { description, range, values, pattern } = spec;
  const common = { description, default: spec.default };
  if (spec.type === 'list') {
    return { ...common, type: ['string', 'array'], items: { type: 'string', ...(values && { enum: values }) } };
  }
  const types = [spec.type, ...(spec.switchable ? ['boolean'] : []), ...(spec.nullable ? ['null'] : [])];
  return {
    ...common,
    type: types.length === 1 ? types[0]! : types,
    ...range,
    ...(values && { enum: spec.nullable ? [...values, null] : values }),
    ...(pattern && { pattern }),
  };
}
