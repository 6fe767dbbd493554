import type { SelectionListener } from '@spft/estimator';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { toyModel, toySamples } from '../../test/toy-model.js';
import { Trainer } from '../loop/trainer.js';
import { SparsityStatistics } from './sparsity-statistics.js';

const reads = vi.hoisted(() => ({ free: true }));
vi.mock('../loop/host-reads.js', () => ({ readsAreFree: () => reads.free }));

describe.each([true, false])('SparsityStatistics where reading is free: %s', (free) => {
  beforeAll(() => {
    reads.free = free;
  });
  beforeAll(() => useBackend('cpu'));

  it('counts which channels were kept, in every n-th step, and leaves no tensor and no listener', async () => {
    const heard: number[] = [];
    const outer: SelectionListener = ({ layer }) => heard.push(layer);
    const plan: { listener: SelectionListener | null } = { listener: outer };
    const model = toyModel();
    const { loss } = model;
    let call = 0;
    model.loss = (batch, options) => {
      // Channels 0 and 1 + the number of the call, of 6.
      const indices = tf.tensor1d([0, 1 + (call++ % 4)], 'int32');
      plan.listener?.({ layer: 1, module: 'mlp', part: 'mlp', selection: { indices, kept: 2, total: 6 } });
      indices.dispose();
      return loss(batch, options);
    };
    const before = tf.memory().numTensors;
    const statistics = new SparsityStatistics(plan, { layerCount: 3, every: 2 });
    await new Trainer({ model, samples: toySamples(8), args: { maxSteps: 5 }, callbacks: [statistics] }).train();
    expect(tf.memory().numTensors).toBe(before);
    expect(plan.listener).toBe(outer);
    expect(heard).toStrictEqual([1, 1, 1, 1, 1]);

    // Steps 0, 2 and 4: channels 1, 3 and 1 beside channel 0.
    const { steps, layers } = statistics.map();
    expect(steps).toBe(3);
    expect(layers.map(({ layer, parts }) => [layer, Object.keys(parts)])).toStrictEqual([
      [0, []],
      [1, ['mlp']],
      [2, []],
    ]);
    expect(layers[1]!.parts.mlp).toStrictEqual({
      total: 6,
      density: 6 / 18,
      selections: 3,
      always: 1 / 6,
      never: 3 / 6,
      frequency: [1, 2 / 3, 0, 1 / 3, 0, 0],
    });
    expect(tf.memory().numTensors).toBe(before);
    expect(statistics.map(2).layers[1]!.parts.mlp!.frequency).toStrictEqual([5 / 9, 1 / 9]);
    model.dispose();
  });

  it('listens to no more than fifty steps of a run, unless it is told how often', async () => {
    const plan: { listener: SelectionListener | null } = { listener: null };
    const model = toyModel();
    const { loss } = model;
    let listened = 0;
    model.loss = (batch, options) => {
      if (plan.listener !== null) listened++;
      return loss(batch, options);
    };
    const stepsHeard = async (every?: number) => {
      listened = 0;
      const statistics = new SparsityStatistics(plan, every === undefined ? {} : { every });
      const args = { maxSteps: 130, loggingSteps: 2 };
      await new Trainer({ model, samples: toySamples(4), args, callbacks: [statistics] }).train();
      return listened;
    };
    expect(await stepsHeard()).toBe(44);
    expect(await stepsHeard(1)).toBe(130);
    model.dispose();
  });
});
