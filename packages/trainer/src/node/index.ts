/** @file What of the trainer needs Node, by file. */
export { directoryCheckpoints } from './checkpoints.js';
export { type DatasetOptions, type LoadedDataset, loadDataset } from './data/dataset.js';
export { type DatasetProgress, type FetchOptions, fetchDataset } from './data/download.js';
export { type Row, readRows } from './data/read-rows.js';
export { type LoadedTask, loadTasks } from './evaluation/load-tasks.js';
export { writeMetrics, writePredictions } from './evaluation/write-results.js';
export { type FileSystem, nodeFileSystem } from './file-system.js';
export { JsonlLogger } from './jsonl-logger.js';
export { type TerminalProgressOptions, type TextOutput, terminalProgress } from './terminal-progress.js';
export { writeReport } from './write-report.js';
