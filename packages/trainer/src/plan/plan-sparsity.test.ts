import { SpftConfig } from '@spft/config';
import { disposeCompensationTable, getSpftModel, type SpftModel } from '@spft/estimator';
import { flopsShare, LlamaForCausalLM, type TrainableModel } from '@spft/models';
import { getPeftModel, type PeftModel } from '@spft/peft';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { sourceOf, TINY, tinyWeights } from '../../../models/test/tiny.js';
import { collate } from '../batch/collate.js';
import { calibrationData } from './calibration-data.js';
import { sparsityFlops } from './flops-method.js';
import type { Stopwatch, TimedWork } from './measure-times.js';
import { layersOf } from './plan-measurements.js';
import { everyLayer, type PlanRequest, planSparsity } from './plan-sparsity.js';
import { planText, timeVerdict } from './plan-text.js';
import { renderPlan } from './render-plan.js';

const SAMPLES = Array.from({ length: 8 }, (_, n) => {
  const inputIds = Array.from({ length: 14 + n }, (_, t) => 3 + ((7 * t + 5 * n) % 30));
  return { inputIds, labels: inputIds.map((id, t) => (t < 11 ? -100 : id)) };
});

/** A machine: what each module's sparsity costs of a layer of 1 second, on sparse tokens; a step has a second beside its layers. */
interface Machine {
  readonly mlp: (sparsity: number) => number;
  readonly attention: (sparsity: number) => number;
  /** Of what layers save, so much is saved in a step of these. */
  readonly together?: (layers: TimedWork['layers']) => number;
}

const FAST: Machine = { mlp: (s) => 0.1 - 0.8 * s, attention: () => 0.05 };

function stopwatch({ mlp, attention, together = () => 1 }: Machine, layerCount: number) {
  const asked: TimedWork[] = [];
  const watch: Stopwatch = {
    seconds: async (works) => {
      asked.push(...works);
      return works.map(({ part, batch: { layout }, layers }) => {
        const share = 1 - layout.denseTokens / layout.tokens;
        const of = (layer: number) => {
          const sparse = layers.get(layer) ?? { mlp: 0, selfAttn: 0 };
          return (
            share * ((sparse.mlp > 0 ? mlp(sparse.mlp) : 0) + (sparse.selfAttn > 0 ? attention(sparse.selfAttn) : 0))
          );
        };
        if (part !== 'step') return 1 + of(part);
        const all = Array.from({ length: layerCount }, (_, n) => of(n)).reduce((a, b) => a + b);
        return 1 + layerCount + together(layers) * all;
      });
    },
  };
  return { watch, asked };
}

/** A module sparse in all layers at one level, or in all but the last, of whose MLP there are labelled rows alone. */
function isEverywhere(layers: TimedWork['layers']): boolean {
  const [first, ...rest] = [...layers.values()];
  return layers.size >= LAYERS - 1 && rest.every((of) => of.mlp === first!.mlp && of.selfAttn === first!.selfAttn);
}

let base: LlamaForCausalLM;
let peft: PeftModel<LlamaForCausalLM>;
let spft: SpftModel<TrainableModel>;

const LAYERS = 6;
/** An untrained model's losses are noise; by this choice they differ enough for plans to differ. */
const CHOICE = { mode: 'svd_2', skip_output_tokens: true, score_context_tokens: false };
/** Losses are the model's, whatever a machine's times: measured once for all tests. */
const losses = new Map<string, number>();
const METHOD = { adapters: { rank: 2, targets: ['q_proj', 'v_proj'] }, predictorRank: 2 };

function request(machine: Machine, more: Partial<PlanRequest> = {}) {
  const { watch, asked } = stopwatch(machine, LAYERS);
  const whole: PlanRequest = {
    ...{ spft, shape: base.config, samples: SAMPLES, method: METHOD, levels: [0.5, 0.9], tails: [1, 2] },
    ...{ timing: { stopwatch: watch, conditions: 'a machine' }, known: losses },
    onMeasured: (key, value) => void (key.startsWith('seconds') || losses.set(key, value)),
    ...more,
  };
  return { whole, asked };
}

beforeAll(async () => {
  await useBackend('cpu');
  const config = { ...TINY, numHiddenLayers: LAYERS };
  base = await LlamaForCausalLM.fromWeights(config, sourceOf(tinyWeights(config)));
  peft = getPeftModel(base, { r: 2, loraAlpha: 4, targetModules: ['q_proj', 'v_proj'] }, { seed: 1 });
  const sparsity = { ...CHOICE, sparsity: everyLayer(LAYERS) };
  spft = (await getSpftModel(peft, SpftConfig.fromObject(sparsity))) as unknown as SpftModel<TrainableModel>;
});

afterAll(() => {
  spft.dispose();
  peft.dispose();
  base.dispose();
});

const FACTS = {
  ...{ mode: 'svd_2', model: 'tiny', dataset: 'rows', backend: 'cpu', channelMultiple: 8, layerCount: LAYERS },
  ...{ fingerprint: '0123456789ab', compensationRank: 0 },
};

describe('planSparsity() by FLOPs', () => {
  it('counts them on more rows than it measures losses on, so that the run keeps the budget', async () => {
    // Those that are measured, of even distances moved by half, have few labels; all others have many, so that a step of theirs saves less.
    const [count, rows] = [2, 40];
    const measured = new Set([rows / 4, (3 * rows) / 4]);
    const samples = Array.from({ length: rows }, (_, n) => {
      const inputIds = Array.from({ length: 24 }, (_, t) => 3 + ((7 * t + 5 * n) % 30));
      const labelled = measured.has(n) ? 2 : 12;
      return { inputIds, labels: inputIds.map((id, t) => (t < 24 - labelled ? -100 : id)) };
    });
    const { whole } = request(FAST, { samples, count, flops: 0.85, tails: [0], known: new Map() });
    const planning = await planSparsity({ ...whole, onMeasured: () => undefined });
    expect(planning.labelledTokens).toBe(2 * 2);
    const batches = Array.from({ length: rows / 8 }, (_, n) => samples.slice(8 * n, 8 * n + 8));
    const [run, few] = [batches, [samples.filter((_, n) => measured.has(n))]].map((all) => {
      const shares = all.map((batch) => {
        const { layout, labelCount } = collate(batch, { denseTokens: spft.denseTokens });
        const method = { ...METHOD, sparsity: layersOf(planning.sparsity) };
        return flopsShare(base.config, { layout, labelledTokens: labelCount }, method);
      });
      return shares.reduce((sum, share) => sum + share, 0) / shares.length;
    });
    expect(run).toBeLessThanOrEqual(0.85);
    expect(planning.flops).toBeCloseTo(run!, 3);
    expect(few).toBeLessThan(0.8);
  });
});

describe('planSparsity() by time', () => {
  it('keeps to the budget with modules that are faster, and says shares of FLOPs and of time', async () => {
    const before = tf.memory().numTensors;
    const { whole } = request(FAST, { time: 0.85 });
    const planning = await planSparsity(whole);
    expect(tf.memory().numTensors).toBe(before);
    expect(planning.time).toBeLessThanOrEqual(0.85);
    expect(planning.time).toBeGreaterThan(0.7);
    expect(planning.runTime).toBeCloseTo(planning.measuredTime!, 12);
    // The machine's layers add up, but that the last layer's MLP computes few rows.
    expect(planning.measuredTime).toBeCloseTo(planning.time!, 6);
    expect([...planning.sparsity.keys()].every((module) => module.endsWith('.mlp'))).toBe(true);
    // Its MLP has labelled rows alone, which are dense.
    expect(planning.sparsity.has(`layers.${LAYERS - 1}.mlp`)).toBe(false);
    expect(planning.layerTimes!.get('self_attn')!.get(0.9)).toBeGreaterThan(1);
    const text = planText(planning, FACTS);
    expect(text).toMatch(
      /a sparse step takes [\d.]+ % of a dense one's FLOPs and [\d.]+ % of its time \(measured as a whole; /,
    );
    expect(text).toMatch(/; [\d.]+ % predicted by a layer's and a step's\)/);
    expect(text).toMatch(/# Time of a layer .*: mlp 0\.5: 0\.\d\d, 0\.9: 0\.\d\d; self_attn 0\.5: 1\.\d\d/);
    expect(SpftConfig.fromText(text, 'plan.yaml').sparsity).toMatchObject(Object.fromEntries(planning.sparsity));
    // Digits alone and an exponent, as a fingerprint can be, are read as the text that they are.
    for (const fingerprint of ['319911031207', '1203e4567890'])
      expect(SpftConfig.fromText(planText(planning, { ...FACTS, fingerprint }), 'plan.yaml').plannedFor).toBe(
        fingerprint,
      );
    const page = renderPlan(planning, FACTS);
    expect(page).toMatch(/% of a dense one&#39;s FLOPs and [\d.]+ % of its time/);
    expect(page).toContain('<h2>Time of a layer</h2>');
  });

  it('leaves attention dense where it is slower, though a budget of FLOPs would take it', async () => {
    const least = { levels: [0.9], tails: [1] };
    const byFlops = await planSparsity(request(FAST, { ...least, flops: 0.7 }).whole);
    expect([...byFlops.sparsity.keys()].some((module) => module.endsWith('.self_attn'))).toBe(true);
    // By its layers' times that plan is told too: what is slower counts as slower.
    const mlps = [...byFlops.sparsity.keys()].filter((module) => module.endsWith('.mlp'));
    const withoutAttention = await planSparsity(
      request({ ...FAST, attention: () => 0 }, { ...least, flops: 0.7 }).whole,
    );
    expect(mlps.length).toBeGreaterThan(0);
    expect(byFlops.time).toBeGreaterThan(withoutAttention.time!);
  });

  it('counts the steps that are dense', async () => {
    const { runTime, time, measuredTime } = await planSparsity(request(FAST, { time: 0.9, sparseSteps: 0.75 }).whole);
    expect(0.75 * time! + 0.25).toBeLessThanOrEqual(0.9);
    expect(runTime).toBeCloseTo(0.75 * measuredTime! + 0.25, 12);
    expect(runTime).toBeLessThanOrEqual(0.9 + 0.02);
  });

  it.each([
    ['--flops', { flops: 0.8 }],
    ['--max_loss', { maxLoss: 0.3 }],
  ])(
    'measures the plan as a whole where the budget is %s, and says where it saves no time though its layers promise it',
    async (_, budget) => {
      // Each layer alone is faster sparse; a step of the whole plan is not, as where a GPU waits for launches.
      const slower: Machine = { ...FAST, together: (layers) => (isEverywhere(layers) ? 1 : -0.3) };
      const { whole, asked } = request(slower, budget);
      const planning = await planSparsity(whole);
      const planned = asked.at(-1)!;
      expect(planned.part).toBe('step');
      expect(planned.layers).toEqual(layersOf(planning.sparsity));
      expect(planning.time).toBeLessThan(0.98);
      expect(planning.measuredTime).toBeGreaterThan(1);
      expect(planning.runTime).toBeCloseTo(planning.measuredTime!, 12);
      const said = `This plan saves no time here: a sparse step takes ${(100 * planning.measuredTime!).toFixed(1)} % of a dense one's time on ${FACTS.backend}`;
      const text = planText(planning, FACTS);
      expect(text).toContain(`\n# ${said}`);
      expect(text).toContain(`though ${(100 * planning.flops).toFixed(1)} % of its FLOPs`);
      expect(SpftConfig.fromText(text, 'plan.yaml').sparsity).toMatchObject(Object.fromEntries(planning.sparsity));
      expect(renderPlan(planning, FACTS)).toContain(said.replaceAll("'", '&#39;'));
      const faster = await planSparsity(request(FAST, budget).whole);
      expect(faster.measuredTime).toBeLessThan(0.98);
      expect(planText(faster, FACTS) + renderPlan(faster, FACTS)).not.toContain('saves no time');
      expect(planText(faster, FACTS)).toMatch(/[\d.]+ % of its time \(measured as a whole; [\d.]+ % predicted by/);
    },
  );

  it('takes a saving that is within the noise of two measurements for none', () => {
    const facts = { backend: 'cuda' };
    expect(timeVerdict({ flops: 0.8, measuredTime: 0.975 }, facts)).toBeNull();
    expect(timeVerdict({ flops: 0.8, measuredTime: null }, facts)).toBeNull();
    expect(timeVerdict({ flops: 0.8, measuredTime: 0.985 }, facts)).toContain('takes 98.5 % of a dense one');
  });

  it.each([0.5, 2])('predicts what a step takes that saves %f times what its layers save alone', async (factor) => {
    const { whole, asked } = request({ ...FAST, together: () => factor }, { time: 0.9 });
    const { time, measuredTime } = await planSparsity(whole);
    expect(time).toBeLessThanOrEqual(0.9);
    expect(measuredTime).toBeCloseTo(time!, 6);
    // With each module sparse in all layers beside a dense one, then the plan itself.
    const sparseSteps = asked.filter(({ part, layers }) => part === 'step' && layers.size > 0);
    expect(sparseSteps.map(({ layers }) => isEverywhere(layers))).toEqual([true, true, false]);
  });

  it('saves more where a step of a few sparse layers saves less than its part of one of all', async () => {
    const alike = await planSparsity(request(FAST, { time: 0.9 }).whole);
    const { whole, asked } = request(
      { ...FAST, together: (layers) => (isEverywhere(layers) ? 1 : 0.5) },
      { time: 0.9 },
    );
    const corrected = await planSparsity(whole);
    expect(corrected.measuredTime).toBeLessThanOrEqual(0.92);
    expect(corrected.time).toBeLessThan(alike.time!);
    expect(asked.filter(({ part, layers }) => part === 'step' && layers.size > 0).length).toBeGreaterThan(3);
  });

  it('saves less where it saves more: the least loss counts', async () => {
    const alike = await planSparsity(request(FAST, { time: 0.8 }).whole);
    const spared = await planSparsity(
      request({ ...FAST, together: (layers) => (isEverywhere(layers) ? 1 : 2) }, { time: 0.8 }).whole,
    );
    expect(spared.measuredTime).toBeLessThanOrEqual(0.82);
    expect(spared.time).toBeGreaterThan(alike.time!);
    expect(spared.loss).toBeLessThanOrEqual(alike.loss);
  });

  it('refuses what cannot be met, and says what can', async () => {
    const slow = request({ mlp: () => 0.2, attention: () => 0.1 }, { time: 0.9 });
    await expect(planSparsity(slow.whole)).rejects.toThrow(
      /no plan saves time here: no module is faster .* mlp 0\.5: 1\.\d\d.* plan by FLOPs \(--flops\)/,
    );
    const message = await planSparsity(request(FAST, { time: 0.2 }).whole).catch((error: Error) => error.message);
    const least = /of the time cannot be met: .* ask for at least ([\d.]+) %/.exec(message as string)![1]!;
    const met = await planSparsity(request(FAST, { time: (Number(least) + 0.1) / 100 }).whole);
    expect(met.time).toBeCloseTo(Number(least) / 100, 2);
    const never = request({ ...FAST, together: (layers) => (isEverywhere(layers) ? 1 : 0.05) }, { time: 0.8 });
    await expect(planSparsity(never.whole)).rejects.toThrow(
      /took 9\d\.\d % of a dense step's time when it was measured as a whole/,
    );
    const worse = request({ ...FAST, together: (layers) => (isEverywhere(layers) ? 1 : -1) }, { time: 0.8 });
    await expect(planSparsity(worse.whole)).rejects.toThrow(/took 1\d\d\.\d % .*; plan by FLOPs/);
  });

  it('takes times that are known under the same conditions, and measures anew under others', async () => {
    const known = new Map(losses);
    const first = request(FAST, { time: 0.85, onMeasured: (key, value) => void known.set(key, value) });
    const planned = await planSparsity(first.whole);
    const second = request(FAST, { time: 0.85, known });
    expect(await planSparsity(second.whole)).toEqual(planned);
    expect(second.asked).toEqual([]);
    const other = request({ mlp: () => 0.2, attention: () => 0.1 }, { time: 0.85, known });
    const timing = { ...other.whole.timing!, conditions: 'another machine' };
    await expect(planSparsity({ ...other.whole, timing })).rejects.toThrow('no plan saves time here');
    expect(other.asked.length).toBeGreaterThan(0);
  });

  it('refuses a budget that is none', async () => {
    const { whole } = request(FAST);
    await expect(planSparsity(whole)).rejects.toThrow('one of them');
    await expect(planSparsity({ ...whole, time: 0.5, flops: 0.5 })).rejects.toThrow('one of them');
    await expect(planSparsity({ ...whole, time: 1.2 })).rejects.toThrow('share of time must lie between 0 and 1');
    const { timing: _, ...untimed } = whole;
    await expect(planSparsity({ ...untimed, time: 0.5 })).rejects.toThrow('needs a stopwatch');
    const planning = await planSparsity({ ...untimed, flops: 0.8 });
    expect(planning).toMatchObject({ time: null, runTime: null, measuredTime: null, layerTimes: null });
    expect(planText(planning, FACTS)).not.toContain('time');
  });
});

describe('planSparsity() for a run with compensation_rank', () => {
  const RANK = 6;
  const LEVELS = [0.5, 0.9];
  const KEYS = { ...CHOICE, skip_tail_tokens: 1 };
  const CALIBRATED = () => calibrationData(base, SAMPLES);

  /** Maps are of the calibration's sparse tokens, so these are of one tail alone. */
  const planned = async (more: Partial<PlanRequest> = {}) => {
    const config = SpftConfig.fromObject({ ...KEYS, sparsity: everyLayer(LAYERS) });
    const calibration = CALIBRATED();
    const attached = (await getSpftModel(peft, config, { calibration })) as unknown as SpftModel<TrainableModel>;
    const wanted = new Map(Array.from({ length: LAYERS }, (_, layer) => [layer, LEVELS]));
    const compensation = await attached.compensationTable(RANK, wanted);
    const { whole, asked } = request(FAST, { spft: attached, levels: LEVELS, tails: [1], known: new Map(), ...more });
    try {
      const planning = await planSparsity({
        ...whole,
        ...{ compensation, method: { ...METHOD, compensationRank: RANK } },
        onMeasured: () => undefined,
      });
      return { planning, asked };
    } finally {
      disposeCompensationTable(compensation);
      attached.dispose();
    }
  };

  it('measures what the planned run computes: its loss with the maps that it fits, and their arithmetic', async () => {
    const before = tf.memory().numTensors;
    const { planning, asked } = await planned({ flops: 0.8 });
    const mlps = [...planning.sparsity.keys()].filter((module) => module.endsWith('.mlp'));
    expect(mlps.length).toBeGreaterThan(1);
    const text = planText(planning, { ...FACTS, compensationRank: RANK });
    const config = { ...SpftConfig.fromText(text, 'plan.yaml'), scoreContextTokens: false };
    expect(config.compensationRank).toBe(RANK);
    // The run's own channel multiple is the backend's, where the measured model had it.
    const run = await getSpftModel(peft, { ...config, channelMultiple: null }, { calibration: CALIBRATED() });
    const batch = collate(SAMPLES, { denseTokens: run.denseTokens });
    const lossOf = () =>
      tf.tidy(() => peft.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount }).dataSync()[0]!);
    const compensated = lossOf();
    expect(planning.loss).toBeCloseTo(compensated, 5);
    const { compensation: _, ...without } = run.plan;
    run.host.setSparsity(without);
    expect(Math.abs(lossOf() - compensated)).toBeGreaterThan(1e-3);
    const layers = layersOf(planning.sparsity);
    const tokens = { layout: batch.layout, labelledTokens: batch.labelCount };
    const method = { adapters: METHOD.adapters, ...sparsityFlops({ ...config, channelMultiple: 1 }, layers) };
    expect(planning.flops).toBeCloseTo(flopsShare(base.config, tokens, method), 2);
    expect(planning.flops).toBeGreaterThan(flopsShare(base.config, tokens, { ...method, compensationRank: 0 }) + 0.005);
    run.dispose();
    expect(tf.memory().numTensors).toBe(before);
    // Times too are those of layers with their maps.
    const sparse = asked.filter(({ layers }) => [...layers.values()].some(({ mlp }) => mlp > 0));
    expect(sparse.length).toBeGreaterThan(0);
    for (const { layers, compensation } of sparse) {
      const withMlp = [...layers].filter(([, { mlp }]) => mlp > 0).map(([layer]) => layer);
      expect([...compensation!.keys()]).toEqual(withMlp);
    }
  });

  it('measures each module with the map of its sparsity', async () => {
    const { planning } = await planned({ flops: 0.8 });
    const plain = await planSparsity(request(FAST, { flops: 0.8, levels: LEVELS, tails: [1] }).whole);
    expect(planning.denseLoss).toBeCloseTo(plain.denseLoss, 6);
    const rises = (of: typeof plain) =>
      [...of.sensitivity].flatMap(([module, ofModule]) => (module.endsWith('.mlp') ? [...ofModule.values()] : []));
    const [withMaps, alone] = [rises(planning), rises(plain)].map((all) => all.map(Math.abs).reduce((a, b) => a + b));
    // What is dropped is mostly put back.
    expect(withMaps).toBeLessThan(0.7 * alone!);
    const attention = (of: typeof plain) => of.sensitivity.get('layers.2.self_attn')!.get(0.9)!;
    expect(attention(planning)).toBeCloseTo(attention(plain), 6);
  });

  it('says so in the file and on the page, and says nothing without', async () => {
    const { planning } = await planned({ flops: 0.8 });
    const facts = { ...FACTS, compensationRank: RANK };
    const [text, page] = [planText(planning, facts), renderPlan(planning, facts)];
    for (const said of [text, page]) expect(said).toContain('Measured with compensation_rank 6: what dropped MLP');
    expect(text).toContain('\ncompensation_rank: 6\n');
    const plain = await planSparsity(request(FAST, { flops: 0.8 }).whole);
    expect(planText(plain, FACTS)).toContain('\ncompensation_rank: 0\n');
    expect(planText(plain, FACTS) + renderPlan(plain, FACTS)).not.toContain('Measured with');
    // Where no MLP is sparse there is nothing that a map could stand for.
    const attention = { ...planning, sparsity: new Map([['layers.1.self_attn', 0.5]]) };
    expect(planText(attention, facts)).toContain('\ncompensation_rank: 0\n');
  });

  it('refuses a model whose maps are of its own sparsities, and a table that lacks one', async () => {
    const config = SpftConfig.fromObject({ ...KEYS, compensation_rank: RANK, sparsity: everyLayer(LAYERS) });
    const calibration = CALIBRATED();
    const attached = (await getSpftModel(peft, config, { calibration })) as unknown as SpftModel<TrainableModel>;
    await expect(planSparsity(request(FAST, { spft: attached, flops: 0.8 }).whole)).rejects.toThrow(
      "the model's compensation_rank is of its own sparsities",
    );
    attached.dispose();
    const lacking = request(FAST, { flops: 0.8, compensation: new Map(), known: new Map() }).whole;
    await expect(planSparsity(lacking)).rejects.toThrow('no map of layers.');
  });
});
