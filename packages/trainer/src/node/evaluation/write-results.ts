/** @file What an evaluation found, as files: every prediction as a line of JSON, and upstream's metrics.json. */
import { dirname } from 'node:path';
import { removeLeftovers, temporaryPath } from '@spft/safetensors/node';
import type { EvaluationResult } from '../../evaluation/evaluate-task.js';
import { type FileSystem, nodeFileSystem } from '../file-system.js';

/** One line a prediction, `{task, index, prompt?, output, predicted, expected, correct}`; the file is complete or not there. */
export function writePredictions(
  path: string,
  results: readonly EvaluationResult[],
  files: FileSystem = nodeFileSystem,
): Promise<void> {
  const lines = results.flatMap(({ task, predictions }) =>
    predictions.map((prediction, index) => `${JSON.stringify({ task, index, ...prediction })}\n`),
  );
  return write(path, lines.join(''), files);
}

/** `{"gsm8k": 0.3025, …}`, accuracy by task, as upstream writes it beside the adapter. */
export function writeMetrics(
  path: string,
  results: readonly EvaluationResult[],
  files: FileSystem = nodeFileSystem,
): Promise<void> {
  const metrics = Object.fromEntries(results.map(({ task, accuracy }) => [task, accuracy]));
  return write(path, `${JSON.stringify(metrics, null, 4)}\n`, files);
}

async function write(path: string, text: string, files: FileSystem): Promise<void> {
  const partial = temporaryPath(path);
  await files.makeDirectory(dirname(path));
  await removeLeftovers(path);
  try {
    await files.writeFile(partial, new TextEncoder().encode(text));
    await files.rename(partial, path);
  } catch (cause) {
    await files.remove(partial).catch(() => {});
    throw cause;
  }
}
