export type { KeySpec, KeyTable, KeyType, Range, ValuesOf } from './key-table.js';
export type { TrainConfig, TrainKey } from './train-config.js';
export { OPTIMIZERS, REPORTERS, SCHEDULERS, STRATEGIES, TRAIN_KEYS } from './train-config.js';
