/**
 * @file Training by recorded steps: the bits of the same steps by the host, for batches of all lengths, with sparsity chosen by predictors, its
 * schedule, accumulation and logging; and what padding does not change.
 */
import { SpftConfig } from '@spft/config';
import { getSpftModel } from '@spft/estimator';
import { LlamaForCausalLM } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { createStepRecorder, type StepRecorder, type StepRecorderCounts } from '@spft/sparse-ops';
import {
  calibrationData,
  collate,
  type Sample,
  type SparsityMap,
  SparsityStatistics,
  SpftCallback,
  Trainer,
  type TrainerOptions,
} from '@spft/trainer';
import { type PreparedSample, padBatch, sizeOf } from '@spft/trainer/internals';
import * as tf from '@tensorflow/tfjs';
import { afterEach, expect, it, vi } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { sourceOf, TINY, tinyWeights } from '../../../models/test/tiny.js';
import { cuda, describeCuda, emulated } from '../../test/cuda.js';

const CONFIG = { ...TINY, hiddenSize: 32, intermediateSize: 64, headDim: 8, numHiddenLayers: 2 };

/** Prompts of 2 to 13 tokens, answers of 1 to 5. */
const SAMPLES: readonly Sample[] = Array.from({ length: 40 }, (_, n) => {
  const [prompt, answer] = [2 + ((n * 5) % 12), 1 + ((n * 3) % 5)];
  const inputIds = [(n * 7) % 37];
  while (inputIds.length < prompt + answer) inputIds.push((inputIds.at(-1)! * 3 + 1) % 37);
  return { inputIds, labels: inputIds.map((id, t) => (t < prompt ? -100 : id)) };
});

interface Run {
  readonly losses: readonly number[];
  readonly values: readonly Float32Array[];
  readonly counts: StepRecorderCounts | null;
  readonly messages: readonly string[];
  readonly memory: readonly number[];
  readonly kept: SparsityMap | undefined;
}

interface Wanted {
  readonly sparse?: boolean;
  readonly dropout?: number;
  readonly dora?: boolean;
  /** Frozen weights in FP8, with adapters on attention's alone and kept channels that products on codes can take. */
  readonly fp8?: boolean;
  /** Channels are chosen by two context tokens of each sequence. */
  readonly spaced?: boolean;
  /** Labelled tokens are dense, so that channels are chosen by the mean of the others. */
  readonly context?: boolean;
  /** What dropped channels would have given is replaced by a map. */
  readonly compensated?: boolean;
  /** Of the adapters; with 8 the kernels of branches take them. */
  readonly rank?: 4 | 8;
  /** Whether what is on other streams than the first is done as late as may be (emulator/README.md). */
  readonly late?: boolean;
  /** Whether kept channels are gathered and products fill the GPU, as on large models. */
  readonly large?: boolean;
  /** Whether matrices are large enough that few dense rows are made beside the others; adapters are on attention's layers alone. */
  readonly few?: boolean;
  /** Steps between two whose kept channels are counted. */
  readonly counts?: number;
  readonly args?: TrainerOptions['args'];
  readonly options?: Partial<TrainerOptions>;
}

/** Of the backend: from where on it does as for large models. */
const USUAL = { masksBelow: 2 ** 32, besideBelow: 2 ** 33, skinnyFrom: 2 ** 21 };

/** Counts of recorders end with them: the last that was seen. */
let seen: StepRecorder | null = null;

/** How `cuda` records: with graphs, by the host, or not at all. */
function recording(how: 'graphs' | 'host' | 'none'): void {
  vi.restoreAllMocks();
  const made = cuda().recordSteps.bind(cuda());
  seen = null;
  vi.spyOn(cuda(), 'recordSteps').mockImplementation((options) => {
    if (how === 'none') return null;
    const recorder = made(options) as unknown as StepRecorder;
    if (how === 'graphs') seen = recorder;
    else recorder.dispose();
    const byHost = {
      // By it the trainer chooses the shapes, which are to be the same.
      keyFlops: recorder.keyFlops,
      run: (_key: string, inputs: object, work: (inputs: object) => tf.Tensor[], _: object, wanted = 1e9) => {
        const made = work(inputs);
        tf.dispose(made.slice(wanted));
        return made.slice(0, wanted);
      },
      dispose() {},
    };
    return (seen ?? byHost) as never;
  });
}

afterEach(() => {
  vi.restoreAllMocks();
  delete process.env.SPFT_EMULATOR_ASYNC;
  Object.assign(cuda(), USUAL);
});

async function makeModel({
  sparse = false,
  dropout = 0,
  dora = false,
  fp8 = false,
  spaced = false,
  context = false,
  compensated = false,
  rank = 4,
  few = false,
}: Wanted) {
  const options = { basePrecision: fp8 ? ('fp8' as const) : ('bf16' as const) };
  const model = await LlamaForCausalLM.fromWeights(CONFIG, sourceOf(tinyWeights(CONFIG)), options);
  const ofMlp = fp8 || few ? [] : ['gate_proj', 'up_proj', 'down_proj'];
  const targetModules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', ...ofMlp];
  const peft = getPeftModel(model, { r: rank, loraAlpha: 8, loraDropout: dropout, useDora: dora, targetModules });
  const config = {
    mode: 'svd_4',
    sparsity: {
      ...{ 'layers.1.mlp': 0.5, 'layers.1.self_attn': 0.5 },
      // The last layer's MLP has rows with a label alone.
      ...(few && { 'layers.0.mlp': 0.5, 'layers.0.self_attn': 0.5 }),
    },
    start_step: 0.1,
    end_step: 0.9,
    ...(spaced && { score_tokens: 2, score_context_tokens: true, skip_output_tokens: true }),
    ...(context && { skip_output_tokens: true }),
    ...(compensated && { compensation_rank: 3, skip_output_tokens: true }),
  };
  const spft = sparse
    ? await getSpftModel(peft, SpftConfig.fromObject(config), {
        channelMultiple: fp8 ? 16 : 1,
        ...(compensated && { calibration: calibrationData(model, SAMPLES) }),
      })
    : null;
  return { model, peft, spft };
}

async function run(
  how: 'graphs' | 'host' | 'none',
  { args, options, counts: every, ...wanted }: Wanted = {},
): Promise<Run> {
  recording(how);
  const before = tf.memory().numTensors;
  const { model, peft, spft } = await makeModel(wanted);
  const memory: number[] = [];
  const messages: string[] = [];
  const statistics = spft && every ? new SparsityStatistics(spft.plan, { layerCount: model.layerCount, every }) : null;
  const trainer = new Trainer({
    model: spft ?? peft,
    samples: SAMPLES,
    ...(spft && { denseTokens: spft.denseTokens }),
    notify: (message) => void (message.startsWith('sparsity o') || messages.push(message)),
    args: { maxSteps: 24, perDeviceTrainBatchSize: 4, learningRate: 0.01, loggingSteps: 7, seed: 3, ...args },
    ...options,
    callbacks: [
      ...(spft ? [new SpftCallback(spft)] : []),
      { onStepEnd: () => void memory.push(cuda().memoryPool.bytes) },
      ...(statistics ? [statistics] : []),
      ...(options?.callbacks ?? []),
    ],
  });
  const { state } = await trainer.train();
  const counts = seen ? { ...(seen as StepRecorder).counts } : null;
  const losses = state.logHistory.flatMap((entry) => ('loss' in entry ? [entry.loss as number] : []));
  const values = [...model.variables.values()].map((v) => v.dataSync() as Float32Array);
  spft?.dispose();
  peft.dispose();
  model.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return { losses, values, counts, messages, memory, kept: statistics?.map() };
}

describeCuda('training by recorded steps', () => {
  for (const [name, wanted] of [
    ['LoRA with dropout', { dropout: 0.2 }],
    ['SparseLoRA with its schedule', { sparse: true }],
    ['channels chosen by some tokens of each sequence', { sparse: true, spaced: true }],
    ['channels chosen by the mean of what has no label', { sparse: true, context: true }],
    ['what dropped channels give replaced by a map', { sparse: true, compensated: true }],
    ['the same on a base in FP8', { sparse: true, compensated: true, fp8: true }],
    ['accumulated micro-batches', { sparse: true, args: { gradientAccumulationSteps: 2, perDeviceTrainBatchSize: 2 } }],
    ['SparseLoRA on a base in FP8', { sparse: true, fp8: true }],
    ['LoRA, what is made beside products late', { rank: 8, late: true }],
    ['DoRA, what is made beside products late', { rank: 8, dora: true, late: true }],
    ['SparseLoRA, what is made beside products late', { rank: 8, sparse: true, late: true }],
    ['the same, channels chosen by some tokens', { rank: 8, sparse: true, spaced: true, late: true }],
    ['SparseLoRA as on large models', { rank: 8, sparse: true, late: true, large: true }],
    [
      'few dense rows beside sparse ones, late',
      { rank: 8, sparse: true, context: true, late: true, large: true, few: true },
    ],
    ['the same in FP8, the choice of channels late', { rank: 8, sparse: true, fp8: true, late: true, large: true }],
    ['SGD and gradient checkpointing', { args: { optim: 'sgd', momentum: 0.9, gradientCheckpointing: true } }],
  ] as const satisfies readonly (readonly [string, Wanted])[]) {
    it(`gives the bits of the same steps by the host: ${name}`, { timeout: 300_000 }, async () => {
      if ('late' in wanted) process.env.SPFT_EMULATOR_ASYNC = 'late';
      if ('large' in wanted) Object.assign(cuda(), { masksBelow: 0, besideBelow: 0 });
      if ('few' in wanted) cuda().skinnyFrom = 0;
      const ours = await run('graphs', wanted);
      expect(ours.messages).toEqual([]);
      expect(ours.counts!.replayed).toBeGreaterThan(6);
      expect(ours.counts!.replayed + ours.counts!.plain).toBe(24);
      const theirs = await run('host', wanted);
      expect(ours.losses).toEqual(theirs.losses);
      expect(ours.values).toEqual(theirs.values);
    });
  }
});

describeCuda('a listener of recorded steps', () => {
  it.each([
    ['MLPs and attention', {}],
    ['accumulated micro-batches', { args: { gradientAccumulationSteps: 2, perDeviceTrainBatchSize: 2 } }],
    ['checkpoints of layers', { args: { gradientCheckpointing: true } }],
    ['a base in FP8', { fp8: true }],
  ] as const satisfies readonly (readonly [string, Wanted])[])(
    'is no reason to launch them one call at a time, and hears what the same steps by the host select: %s',
    { timeout: 300_000 },
    async (_, wanted) => {
      // Only where ops are not watched for leaks can a selection be kept beyond its layer's recomputed half.
      const watched = tf.env().getBool('IS_TEST');
      tf.env().set('IS_TEST', false);
      try {
        // The first run compiles kernels, which keeps its first steps from being recorded.
        const deaf = await run('graphs', { sparse: true, ...wanted });
        const ours = await run('graphs', { sparse: true, counts: 1, ...wanted });
        expect(deaf.counts!.replayed).toBeGreaterThan(6);
        expect(ours.counts!.replayed).toBeGreaterThanOrEqual(deaf.counts!.replayed);
        const theirs = await run('host', { sparse: true, counts: 1, ...wanted });
        expect(ours.kept!.steps).toBe(19);
        expect(ours.kept!.layers[1]!.parts.mlp!.selections).toBeGreaterThanOrEqual(19);
        // Of 16 channels in a multiple of 16 all are kept.
        const parts = 'fp8' in wanted ? ['mlp'] : ['k', 'mlp', 'o', 'q', 'v'];
        expect(Object.keys(ours.kept!.layers[1]!.parts).sort()).toEqual(parts);
        expect(ours.kept).toEqual(theirs.kept);
        expect(ours.values).toEqual(theirs.values);
        expect(ours.values).toEqual(deaf.values);
        // The steps as they are where nothing records: other batches' lengths, the same choice.
        if (emulated) expect(ours.kept).toEqual((await run('none', { sparse: true, counts: 1, ...wanted })).kept);
        const some = await run('graphs', { sparse: true, counts: 5, ...wanted });
        expect(some.kept!.steps).toBe(4);
      } finally {
        tf.env().set('IS_TEST', watched);
      }
    },
  );
});

describeCuda('rows of padding', () => {
  it.each([
    ['by the mean token', {}],
    ['by the mean of what has no label', { context: true }],
    ['by some tokens of each sequence', { spaced: true }],
  ])(
    'change nothing: loss, gradients and the channels that predictors choose %s are those of the batch alone',
    async (_, wanted) => {
      const { model, peft, spft } = await makeModel({ sparse: true, ...wanted });
      spft!.plan.enabled = true;
      const batch = collate(SAMPLES.slice(0, 4) as PreparedSample[], { denseTokens: spft!.denseTokens });
      const prepared = { layout: batch.layout, rows: model.recordable.rows(batch) };
      const size = sizeOf(prepared.layout, prepared.rows);
      const normalizer = tf.scalar(7);
      const results = [0, 1, 5, 16].map((more) => {
        const shape = {
          denseRows: size.denseRows + more,
          sparseRows: size.sparseRows + 2 * more,
          denseLossRows: size.denseLossRows + more,
          sparseLossRows: size.sparseLossRows + more,
          sequences: size.sequences + 3 * more,
          longest: size.longest + more,
        };
        const options = { training: true, seed: 1, normalizer, maskSeeds: model.recordable.maskSeeds(1) };
        const { value, grads } = tf.variableGrads(
          () => model.recordable.loss(padBatch(prepared, shape), options),
          [...model.variables.values()],
        );
        const values = [value, ...Object.values(grads)].map((tensor) => [...tensor.dataSync()]);
        tf.dispose([value, ...Object.values(grads)]);
        return values;
      });
      for (const other of results.slice(1)) {
        // On a GPU a product of another size may take another algorithm, and add in another order; the loss is added up over rows that lie elsewhere.
        if (emulated) {
          expectAllClose('loss', other[0]!, results[0]![0]!, { relative: 2e-7, absolute: 0 });
          expect(other.slice(1)).toEqual(results[0]!.slice(1));
        } else {
          other.forEach((values, n) => {
            expectAllClose(`result ${n}`, values, results[0]![n]!, { relative: 1e-4, absolute: 1e-6 });
          });
        }
      }
      tf.dispose(normalizer);
      spft!.dispose();
      peft.dispose();
      model.dispose();
    },
  );
});

describeCuda('createStepRecorder()', () => {
  it('is what the backend has', () => {
    const recorder = createStepRecorder()!;
    expect(recorder.counts).toEqual({ replayed: 0, plain: 0, recorded: 0, live: 0 });
    recorder.dispose();
  });
});
