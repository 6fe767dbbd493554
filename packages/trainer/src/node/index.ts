/** @file What of the trainer needs Node, by file. */
export { directoryCheckpoints } from './checkpoints.js';
export { type FileSystem, nodeFileSystem } from './file-system.js';
export { JsonlLogger } from './jsonl-logger.js';
export { type TerminalProgressOptions, type TextOutput, terminalProgress } from './terminal-progress.js';
export { writeReport } from './write-report.js';
