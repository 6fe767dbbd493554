/** @file What of the trainer needs Node, by file. */
export { directoryCheckpoints } from './checkpoint/checkpoints.js';
export { directoryFiles, type HubDataset, hubFiles, parseHubDataset } from './data/data-directory.js';
export { readDataRows } from './data/data-rows.js';
export { type DatasetOptions, type LoadedDataset, loadDataset, locateFiles } from './data/dataset.js';
export { type DatasetProgress, type FetchOptions, fetchDataset } from './data/download.js';
export { type Row, readRows } from './data/read-rows.js';
export { readTable, type TableFormat, type TableOptions, tableFormat } from './data/read-table.js';
export { readTokens, tokenCacheDirectory, tokensKey, writeTokens } from './data/token-cache.js';
export { type TokenizeDatasetOptions, type TokenizedDataset, tokenizeDataset } from './data/tokenize-dataset.js';
export { type LoadedTask, loadTasks } from './evaluation/load-tasks.js';
export { writeMetrics, writePredictions } from './evaluation/write-results.js';
export { type FileSystem, nodeFileSystem } from './file-system.js';
export { JsonlLogger } from './record/jsonl-logger.js';
export { TensorBoardLogger } from './record/tensorboard-logger.js';
export { type TerminalProgressOptions, type TextOutput, terminalProgress } from './record/terminal-progress.js';
export { WandbLogger, type WandbOptions } from './record/wandb-logger.js';
export { writeReport } from './report/write-report.js';
export { type DirectoryLock, lockDirectory, refuseHeld } from './run-lock.js';
