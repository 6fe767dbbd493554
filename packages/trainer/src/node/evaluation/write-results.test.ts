import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvaluationResult } from '../../evaluation/evaluate-task.js';
import { nodeFileSystem } from '../file-system.js';
import { writeMetrics, writePredictions } from './write-results.js';

const result = (task: string, correct: number, total: number): EvaluationResult => ({
  task,
  correct,
  total,
  accuracy: correct / total,
  seconds: 1,
  predictions: Array.from({ length: total }, (_, i) => ({
    output: `line\n${i}`,
    predicted: i === 0 ? null : i,
    expected: '1',
    correct: i < correct,
  })),
});

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-results-'));
});
afterAll(() => rm(directory, { recursive: true }));

describe('writePredictions()', () => {
  it('writes a line a prediction, with its task and place', async () => {
    const path = join(directory, 'new', 'predictions.jsonl');
    await writePredictions(path, [result('a', 1, 2), result('b', 0, 1)]);
    const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      { task: 'a', index: 0, output: 'line\n0', predicted: null, expected: '1', correct: true },
      { task: 'a', index: 1, output: 'line\n1', predicted: 1, expected: '1', correct: false },
      { task: 'b', index: 0, output: 'line\n0', predicted: null, expected: '1', correct: false },
    ]);
    expect(await readdir(join(directory, 'new'))).toEqual(['predictions.jsonl']);
  });

  it('keeps the old file and leaves nothing else when the disk is full', async () => {
    const path = join(directory, 'full', 'predictions.jsonl');
    await writePredictions(path, [result('a', 1, 1)]);
    const before = await readFile(path, 'utf8');
    const full = {
      ...nodeFileSystem,
      writeFile: async (partial: string, bytes: Uint8Array) => {
        await nodeFileSystem.writeFile(partial, bytes.subarray(0, 5));
        throw new Error('ENOSPC: no space left on device');
      },
    };
    await expect(writePredictions(path, [result('b', 1, 1)], full)).rejects.toThrow('ENOSPC');
    expect(await readFile(path, 'utf8')).toBe(before);
    expect(await readdir(join(directory, 'full'))).toEqual(['predictions.jsonl']);
  });
});

describe('writeMetrics()', () => {
  it("writes the accuracies by task, as upstream's metrics.json", async () => {
    const path = join(directory, 'metrics.json');
    await writeMetrics(path, [result('gsm8k', 1, 4), result('boolq', 1, 2)]);
    expect(await readFile(path, 'utf8')).toBe('{\n    "gsm8k": 0.25,\n    "boolq": 0.5\n}\n');
  });
});
