/** @file The planner's times are those of recorded steps, where a run's steps are recorded. */
import { SpftConfig } from '@spft/config';
import { disposeCompensationTable, getSpftModel, type SpftModel } from '@spft/estimator';
import { LlamaForCausalLM, type TrainableModel } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import type { StepRecorder, StepRecorderCounts } from '@spft/sparse-ops';
import { calibrationData, collate, everyLayer, StepTimer, type TimedWork } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';
import { afterEach, expect, it, vi } from 'vitest';
import { sourceOf, TINY, tinyWeights } from '../../../models/test/tiny.js';
import { cuda, describeCuda } from '../../test/cuda.js';

const SAMPLES = [5, 9, 7].map((length) => {
  const inputIds = Array.from({ length }, (_, t) => 3 + ((7 * t + length) % 30));
  return { inputIds, labels: inputIds.map((id, t) => (t < length - 2 ? -100 : id)) };
});

afterEach(() => vi.restoreAllMocks());

describeCuda('StepTimer on cuda', () => {
  it('replays a step, a dense layer and sparse ones, each recorded once, and gives the memory back', async () => {
    const base = await LlamaForCausalLM.fromWeights(TINY, sourceOf(tinyWeights(TINY)));
    const peft = getPeftModel(base, { r: 2, loraAlpha: 4, targetModules: ['q_proj', 'v_proj'] }, { seed: 1 });
    const config = {
      mode: 'svd_2',
      score_tokens: 2,
      skip_output_tokens: true,
      sparsity: everyLayer(TINY.numHiddenLayers),
    };
    const spft = await getSpftModel(peft, SpftConfig.fromObject(config), {
      channelMultiple: 1,
      calibration: calibrationData(base, SAMPLES),
    });
    const maps = await spft.compensationTable(2, new Map([[1, [0.75]]]));
    const batch = collate(SAMPLES, { denseTokens: spft.denseTokens });
    const counts: StepRecorderCounts[] = [];
    const made = cuda().recordSteps.bind(cuda());
    vi.spyOn(cuda(), 'recordSteps').mockImplementation((options) => {
      const recorder = made(options) as unknown as StepRecorder;
      const dispose = recorder.dispose.bind(recorder);
      recorder.dispose = () => {
        counts.push({ ...recorder.counts });
        dispose();
      };
      return recorder as never;
    });
    const works: TimedWork[] = [
      { part: 'step', batch, layers: new Map() },
      { part: 1, batch, layers: new Map() },
      { part: 1, batch, layers: new Map([[1, { mlp: 0.75, selfAttn: 0 }]]) },
      { part: 1, batch, layers: new Map([[1, { mlp: 0, selfAttn: 0.5 }]]) },
      // Its map is added to parts of what comes into the layer, which is there before the recording.
      { part: 1, batch, layers: new Map([[1, { mlp: 0.75, selfAttn: 0 }]]), compensation: maps.get(0.75)! },
    ];
    const timer = new StepTimer(spft as unknown as SpftModel<TrainableModel>, base, { seconds: 0 });
    await timer.seconds(works);
    const [tensors, bytes] = [tf.memory().numTensors, cuda().memoryPool.bytes];
    const seconds = await timer.seconds(works);
    expect(seconds.every((one) => one > 0)).toBe(true);
    expect(counts.at(-1)).toMatchObject({ recorded: 5, live: 5 });
    // The first is run by the host, then recorded; three rounds and what is done in a row come on top.
    expect(counts.at(-1)!.replayed).toBeGreaterThanOrEqual(5 * 3);
    expect(counts.at(-1)!.plain).toBeLessThanOrEqual(5 * 2);
    expect([tf.memory().numTensors, cuda().memoryPool.bytes]).toEqual([tensors, bytes]);
    disposeCompensationTable(maps);
    spft.dispose();
    peft.dispose();
    base.dispose();
  });
});
