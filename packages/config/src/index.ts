export type { FlagValue } from './coerce.js';
export { ConfigError, type ConfigProblem, formatProblem } from './config-error.js';
export { type ConfigKind, configKindOf } from './config-kind.js';
export { type JsonSchema, SCHEMAS, type SchemaName } from './json-schema.js';
export {
  camelCase,
  type KeySpec,
  type KeyTable,
  type KeyType,
  type Range,
  snakeCase,
  type ValuesOf,
} from './key-table.js';
export { type LayerSparsity, matchLayers } from './match-layers.js';
export {
  parseTrainConfig,
  type TrainKeyRow,
  type TrainOverrides,
  trainConfigToObject,
  trainKeyRows,
} from './parse-train-config.js';
export { shortJson } from './short-json.js';
export type { ConfigSource } from './source-text.js';
export { COMPAT, KNOWN_MODES, SPARSITY_KEYS, type SparsityValues } from './sparsity-config.js';
export { SpftConfig, type SpftConfigOptions } from './spft-config.js';
export type { TrainConfig, TrainKey } from './train-config.js';
export { OPTIMIZERS, REPORTERS, SCHEDULERS, STRATEGIES, TRAIN_KEYS } from './train-config.js';
