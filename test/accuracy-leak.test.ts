/** @file The trial for a leak of labels into the context (scripts/accuracy/leak-trial.ts): it sees one that is planted, and none where there is none. */
import { fromPretrained } from '@spft/models/node';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { leakConfig } from '../scripts/accuracy/leak-choices.js';
import { leakTable } from '../scripts/accuracy/leak-table.js';
import {
  type LeakSetting,
  leakTrial,
  meanOf,
  randomAnswers,
  registerLabelsAlone,
} from '../scripts/accuracy/leak-trial.js';
import { useBackend } from './support/backends.js';

const SETTING: LeakSetting = {
  ...{ answers: [265, 270], copies: 6, steps: 30, batchSize: 1, accumulation: 2 },
  ...{ learningRate: 5e-3, rank: 8, seed: 0, held: 32 },
};
const PROMPTS = [[300, 310, 320, 330, 340, 350, 360, 370]];

describe('randomAnswers()', () => {
  it('draws answers evenly, by the seed, each row labelled where the answer stands', () => {
    const rows = randomAnswers(PROMPTS, 40, SETTING, 3);
    const last = rows.map(({ inputIds }) => inputIds[inputIds.length - 1]!);
    expect([265, 270].map((answer) => last.filter((id) => id === answer).length)).toEqual([20, 20]);
    expect(rows[0]).toEqual({
      inputIds: [...PROMPTS[0]!, ...Array(6).fill(last[0])],
      labels: [...Array(8).fill(-100), ...Array(6).fill(last[0])],
    });
    expect(randomAnswers(PROMPTS, 40, SETTING, 3)).toEqual(rows);
    expect(randomAnswers(PROMPTS, 40, SETTING, 4)).not.toEqual(rows);
    // Not in turns: the answer before tells nothing.
    expect(last.slice(1).filter((id, n) => id === last[n]).length).toBeGreaterThan(10);
  });
});

describe('leakTable()', () => {
  it('has a line for each choice, over seeds, and shows what is below chance', () => {
    const numbers = { chance: 1.386, training: 1.4, asTrained: 1.5, fromContext: null, dense: 1.5 };
    const errors = { trainingError: 0.1, asTrainedError: 0.1, fromContextError: null, denseError: 0.1 };
    const row = { ...numbers, ...errors, model: 'm', method: 'dense', copies: 1, prompts: 8, batchSize: 1, steps: 9 };
    const leaky = { ...row, method: 'svd_8, every token; MLP 0.9', training: 0.5, fromContext: 2 };
    const rows = [row, leaky, { ...leaky, seed: 1, training: 0.7 }].map((one) => ({ seed: 0, seconds: 1, ...one }));
    expect(leakTable(rows).split('\n').slice(2)).toEqual([
      '| m | 8 | 1 | 1 | dense |  | 1 | 1.400 | 1.500 |  | 1.500 |',
      '| m | 8 | 1 | 1 | svd_8, every token | MLP 0.9 | 2 | **0.600** | 1.500 | 2.000 | 1.500 |',
    ]);
  });
});

describe('meanOf()', () => {
  it('gives the mean with its standard error', () => {
    expect(meanOf([1, 2, 3, 6])).toEqual({ mean: 3, error: Math.sqrt(14 / 3 / 4) });
  });
});

describe('leakTrial()', () => {
  beforeAll(() => useBackend('wasm'));

  it('sees labels that choose the channels, and none where the context chooses', { timeout: 240_000 }, async () => {
    const model = await fromPretrained('examples/quickstart/base');
    const takeBack = registerLabelsAlone(model);
    const before = tf.memory().numTensors;
    const trial = (choice: string) => leakTrial(model, PROMPTS, leakConfig(model.layerCount, choice, 0.9, 0), SETTING);
    const planted = await trial('labels alone (planted)');
    expect(planted.chance).toBeCloseTo(Math.log(2), 12);
    // The answers are known, which nothing but the channels can have told: read from the context, or densely, they are not.
    expect(Math.max(planted.training, planted.asTrained)).toBeLessThan(planted.chance / 2);
    expect(Math.min(planted.fromContext!, planted.dense)).toBeGreaterThan(planted.chance);
    // The original's choice tells them too.
    const all = await trial('svd_8, mean of all tokens');
    expect(all.asTrained).toBeLessThan(all.chance / 2);
    const context = await trial('svd_8, mean of the context');
    expect(context.asTrained).toBeGreaterThan(context.chance - 0.01);
    expect(context.training + 2 * context.trainingError).toBeGreaterThan(context.chance);
    expect(context.fromContext).toBe(context.asTrained);
    takeBack();
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });
});
