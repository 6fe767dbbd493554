/** @file What of the trainer needs Node, by file. */
export { directoryCheckpoints } from './checkpoint/checkpoints.js';
export { type DatasetOptions, type LoadedDataset, loadDataset } from './data/dataset.js';
export { type DatasetProgress, type FetchOptions, fetchDataset } from './data/download.js';
export { type Row, readRows } from './data/read-rows.js';
export { type LoadedTask, loadTasks } from './evaluation/load-tasks.js';
export { writeMetrics, writePredictions } from './evaluation/write-results.js';
export { type FileSystem, nodeFileSystem } from './file-system.js';
export { JsonlLogger } from './record/jsonl-logger.js';
export { type TerminalProgressOptions, type TextOutput, terminalProgress } from './record/terminal-progress.js';
export { writeReport } from './report/write-report.js';
