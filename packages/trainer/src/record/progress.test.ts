import { describe, expect, it } from 'vitest';
import { toyModel, toySamples } from '../../test/toy-model.js';
import { Trainer } from '../loop/trainer.js';
import { ProgressCallback, type ProgressSink, type ProgressUpdate } from './progress.js';

describe('ProgressCallback', () => {
  it('tells a bar of every step, with a speed that forgets the slow first one and the time of evaluations', async () => {
    const said: unknown[] = [];
    const updates: ProgressUpdate[] = [];
    let time = 0;
    const sink: ProgressSink = {
      start: (run) => said.push(run),
      update: (progress) => updates.push(progress),
      log: (logs, { step }) => said.push([step, Object.keys(logs)[0]]),
      note: (message) => said.push(message),
      stop: () => said.push('stop'),
    };
    const model = toyModel();
    const { loss } = model;
    model.loss = (batch, options) => {
      time += options.training ? (updates.length === 0 ? 9000 : 100) : 5000;
      return loss(batch, options);
    };
    const args = {
      maxSteps: 4,
      loggingSteps: 2,
      evalStrategy: 'steps',
      evalSteps: 2,
      perDeviceTrainBatchSize: 4,
    } as const;
    await new Trainer({
      model,
      samples: toySamples(4),
      evalSamples: toySamples(2),
      args,
      callbacks: [new ProgressCallback(sink, () => time)],
      notify: (message) => said.push(message),
    }).train();
    expect(said).toStrictEqual([
      { step: 0, totalSteps: 4 },
      ...[
        [2, 'loss'],
        [2, 'eval_loss'],
        [4, 'loss'],
        [4, 'eval_loss'],
        [4, 'train_runtime'],
      ],
      'stop',
    ]);
    expect(updates.map(({ step, etaSeconds }) => [step, etaSeconds!.toFixed(3)])).toStrictEqual([
      [1, '27.000'],
      [2, '0.200'],
      [3, '0.100'],
      [4, '0.000'],
    ]);
    const tokens = toySamples(4).reduce((sum, { inputIds }) => sum + inputIds.length, 0);
    expect(updates[3]!.tokensPerSecond).toBeCloseTo(tokens / 0.1, 6);
    expect(updates.every((update) => update.loss! > 0)).toBe(true);
    model.dispose();
  });
});
