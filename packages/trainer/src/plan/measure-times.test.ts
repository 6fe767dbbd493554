import { SpftConfig } from '@spft/config';
import { getSpftModel } from '@spft/estimator';
import { LlamaForCausalLM, type TrainableModel } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { isRecording } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { sourceOf, TINY, tinyWeights } from '../../../models/test/tiny.js';
import { collate } from '../batch/collate.js';
import { StepTimer, type TimedWork } from './measure-times.js';
import { everyLayer } from './plan-sparsity.js';

const SAMPLES = [5, 7].map((length) => {
  const inputIds = Array.from({ length }, (_, t) => 3 + ((7 * t + length) % 30));
  return { inputIds, labels: inputIds.map((id, t) => (t < length - 2 ? -100 : id)) };
});

async function sparseModel() {
  const base = await LlamaForCausalLM.fromWeights(TINY, sourceOf(tinyWeights(TINY)));
  const peft = getPeftModel(base, { r: 2, loraAlpha: 4, targetModules: ['q_proj', 'v_proj', 'up_proj'] }, { seed: 1 });
  const config = { mode: 'svd_2', skip_output_tokens: true, sparsity: everyLayer(base.layerCount) };
  const spft = await getSpftModel(peft, SpftConfig.fromObject(config));
  const batch = collate(SAMPLES, { denseTokens: spft.denseTokens });
  const dispose = () => {
    spft.dispose();
    peft.dispose();
    base.dispose();
  };
  return { base, spft: spft as unknown as typeof spft & { model: TrainableModel }, batch, dispose };
}

/** A clock that goes on by what the work is said to cost, and now and then by a disturbance. */
function costs(base: LlamaForCausalLM, seconds: { step: number; dense: number; sparse: number }, every = 7) {
  const clock = { now: 0, order: [] as string[], calls: 0 };
  let isSparse = false;
  const { setSparsity, layerOutput } = base;
  const { loss } = base.recordable;
  vi.spyOn(base, 'setSparsity').mockImplementation((plan) => {
    isSparse = plan?.enabled ?? false;
    setSparsity.call(base, plan);
  });
  const went = (what: 'step' | 'dense' | 'sparse') => {
    expect(isRecording(), 'a gradient is taken').toBe(true);
    clock.order.push(what);
    // Some are disturbed: medians must not see it.
    clock.now += seconds[what] + (clock.calls++ % every === every - 1 ? 1000 : 0);
  };
  vi.spyOn(base, 'layerOutput').mockImplementation((...args) => {
    went(isSparse ? 'sparse' : 'dense');
    return layerOutput.apply(base, args);
  });
  vi.spyOn(base.recordable, 'loss').mockImplementation((...args) => {
    went('step');
    return loss(...args);
  });
  return clock;
}

describe.each(TEST_BACKENDS)('StepTimer on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('tells medians of works that took turns, each forward and backward, and leaves all as it was', async () => {
    const { base, spft, batch, dispose } = await sparseModel();
    const clock = costs(base, { step: 30, dense: 2, sparse: 1 });
    const timer = new StepTimer(spft, base, { now: () => clock.now, seconds: 1e6 });
    const works: TimedWork[] = [
      { part: 'step', batch, layers: new Map() },
      { part: 1, batch, layers: new Map() },
      { part: 1, batch, layers: new Map([[1, { mlp: 0.75, selfAttn: 0 }]]) },
    ];
    const before = tf.memory().numTensors;
    const rounds: number[] = [];
    expect(await timer.seconds(works, (done) => rounds.push(done))).toEqual([30, 2, 1]);
    expect(rounds).toHaveLength(9);
    // After the first times of each, forward and backward through the list.
    const forward = ['step', 'dense', 'sparse'];
    expect(clock.order.slice(6, 12)).toEqual([...forward, ...[...forward].reverse()]);
    expect(base.setSparsity).toHaveBeenLastCalledWith(spft.plan);
    expect(tf.memory().numTensors).toBe(before);
    vi.restoreAllMocks();
    dispose();
  });

  it('begins no round after its time, but has three', async () => {
    const { base, spft, batch, dispose } = await sparseModel();
    const clock = costs(base, { step: 30, dense: 2, sparse: 1 });
    const timer = new StepTimer(spft, base, { now: () => clock.now, seconds: 1 });
    await timer.seconds([{ part: 1, batch, layers: new Map() }]);
    expect(clock.order).toHaveLength(2 + 3);
    vi.restoreAllMocks();
    dispose();
  });

  it('does what is short several times in a row', async () => {
    const { base, spft, batch, dispose } = await sparseModel();
    const clock = costs(base, { step: 30, dense: 0.005, sparse: 1 }, 1000);
    const timer = new StepTimer(spft, base, { now: () => clock.now, seconds: 0 });
    const [seconds] = await timer.seconds([{ part: 1, batch, layers: new Map() }]);
    expect(seconds).toBeCloseTo(0.005, 9);
    expect(clock.order).toHaveLength(2 + 3 * 4);
    vi.restoreAllMocks();
    dispose();
  });

  it('leaves nothing where a work fails', async () => {
    const { base, spft, batch, dispose } = await sparseModel();
    const before = tf.memory().numTensors;
    vi.spyOn(base, 'layerOutput').mockImplementation(() => {
      throw new Error('no room');
    });
    const timer = new StepTimer(spft, base);
    await expect(timer.seconds([{ part: 1, batch, layers: new Map() }])).rejects.toThrow('no room');
    expect(tf.memory().numTensors).toBe(before);
    vi.restoreAllMocks();
    dispose();
  });
});
