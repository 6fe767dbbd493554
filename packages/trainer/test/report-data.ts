/** @file A report's data with everything in it, made by formula. */

import type { PartStatistics, SparsityMap } from '../src/record/sparsity-map.js';
import type { ReportData, ReportMethod } from '../src/report/data.js';

/** A number in [0, 1) that looks random. */
const noise = (n: number) => (Math.sin(n * 12.9898) * 43758.5453) % 1 ** 2;
const unit = (n: number) => Math.abs(noise(n));

function method(name: string, extra: Partial<ReportMethod>, seed: number): ReportMethod {
  const steps = 300;
  const logHistory = Array.from({ length: steps }, (_, n) => ({
    loss: 0.25 + 2.6 * Math.exp(-n / 45) + 0.25 * (unit(n + seed) - 0.5) * Math.exp(-n / 200),
    learning_rate: n < 12 ? (3e-4 * n) / 12 : 1.5e-4 * (1 + Math.cos((Math.PI * (n - 12)) / (steps - 12))),
    tokens_per_second: 900 * (seed / 100) * (1 + 0.1 * unit(n * 3 + seed)),
    step: n + 1,
    epoch: (n + 1) / 100,
  }));
  const heldOut = [100, 200, 300].map((step) => ({
    eval_loss: 0.35 + 2.6 * Math.exp(-step / 45),
    step,
    epoch: step / 100,
  }));
  return { name, logHistory: [...logHistory, ...heldOut], ...extra };
}

function part(total: number, density: number, seed: number): PartStatistics {
  const bins = Math.min(128, total);
  const frequency = Array.from({ length: bins }, (_, n) =>
    Math.min(1, Math.max(0, density + (unit(n * 7 + seed) - 0.5) * 1.4)),
  );
  return { total, density, selections: 30, always: density / 3, never: (1 - density) / 2, frequency };
}

const sparsity: SparsityMap = {
  steps: 30,
  layers: Array.from({ length: 8 }, (_, layer) => {
    const density = [1, 1, 0.75, 0.5, 0.25, 0.1, 0.5, 1][layer]!;
    const attention = [1, 1, 1, 0.5, 0.5, 0.25, 1, 1][layer]!;
    return {
      layer,
      parts: {
        ...(density < 1 ? { mlp: part(768, density, layer) } : {}),
        ...(attention < 1
          ? {
              q: part(192, attention, layer + 1),
              k: part(64, attention, layer + 2),
              v: part(64, attention, layer + 3),
              o: part(192, attention, layer + 4),
            }
          : {}),
      },
    };
  }),
};

export const exampleReport: ReportData = {
  title: 'Quickstart: LoRA and SparseLoRA',
  summary:
    'A small Llama learns a task that it could not do, twice: with all channels, and with those that matter for each batch.',
  facts: { model: 'models/tiny-llama', data: 'arithmetic <2 & 3 digits>', backend: 'wasm', steps: '300', seed: '42' },
  methods: [
    method(
      'LoRA',
      {
        accuracyBefore: 0.062,
        accuracyAfter: 0.914,
        secondsPerStep: 0.212,
        tokensPerSecond: 960,
        flopsShare: 1,
        trainableParameters: 196608,
        evaluations: [
          { set: 'addition', before: 0.1, after: 0.95, questions: 200 },
          { set: 'words', before: 0.02, after: 0.88, questions: 200 },
        ],
      },
      100,
    ),
    method(
      'SparseLoRA',
      {
        accuracyBefore: 0.062,
        accuracyAfter: 0.902,
        secondsPerStep: 0.151,
        tokensPerSecond: 1350,
        flopsShare: 0.58,
        trainableParameters: 196608,
        sparsity,
        evaluations: [{ set: 'addition', before: 0.1, after: 0.94, questions: 200 }],
      },
      140,
    ),
    method('DoRA', { accuracyBefore: 0.062, accuracyAfter: 0.917, secondsPerStep: 0.255, tokensPerSecond: 800 }, 83),
  ],
};
