/**
 * @file Does the choice of channels carry labels into the context? A task on which it would show: each question is followed by one of k answers, drawn at
 * random and each row seen once. Nothing in the question tells the answer, so an honest training loss cannot fall below ln k for an answer; where it does,
 * the kept channels of context tokens have told it.
 */
import type { SpftConfig } from '@spft/config';
import { getSpftModel, registerEstimator, type SparsityPlan, type SpftModel, scoringEstimator } from '@spft/estimator';
import type { LlamaForCausalLM, TrainableModel } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { gatherRows, linear, noGradient } from '@spft/sparse-ops';
import { calibrationData, collate, IGNORED_LABEL, type Sample, Trainer } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';

/** Scores from the labelled tokens alone: as much of a leak as a choice of channels can be. By it a trial shows that it would see one. */
export const LABELS_ALONE = 'labels_alone';

export interface LeakSetting {
  /** Token of each of the k answers. */
  readonly answers: readonly number[];
  /** How often the answer stands there: more labelled tokens have more of a say in the scores. */
  readonly copies: number;
  readonly steps: number;
  /** Sequences that choose their channels together. */
  readonly batchSize: number;
  /** Of them a step. */
  readonly accumulation: number;
  readonly learningRate: number;
  readonly rank: number;
  readonly seed: number;
  /** Rows that are asked after training. */
  readonly held: number;
}

/** Nats for an answer; chance is ln k. */
export interface LeakNumbers {
  readonly chance: number;
  /** Of the steps as they come, each on rows that no step has seen: mean of the last half, and its standard error. */
  readonly training: number;
  readonly trainingError: number;
  /** Of rows that were not trained on, with the channels chosen as in training. */
  readonly asTrained: number;
  readonly asTrainedError: number;
  /** The same rows, the channels chosen from the context alone; null for a dense run. */
  readonly fromContext: number | null;
  readonly fromContextError: number | null;
  /** The same rows, densely. */
  readonly dense: number;
  readonly denseError: number;
}

/** Questions with answers, drawn evenly and then shuffled: `rows` of them, each seen once. */
export function randomAnswers(
  prompts: readonly (readonly number[])[],
  rows: number,
  { answers, copies }: Pick<LeakSetting, 'answers' | 'copies'>,
  seed: number,
): Sample[] {
  const random = generator(seed);
  const order = Array.from({ length: rows }, (_, n) => n);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order.map((drawn, n) => {
    const prompt = prompts[n % prompts.length]!;
    const answer = Array.from({ length: copies }, () => answers[drawn % answers.length]!);
    return { inputIds: [...prompt, ...answer], labels: [...prompt.map(() => IGNORED_LABEL), ...answer] };
  });
}

/** mulberry32: the same draws on every machine. */
function generator(seed: number): () => number {
  let state = (seed + 0x6d2b79f5) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Makes the mode `labels_alone` known for this model; returns what takes it back. Attention is left to other modes. */
export function registerLabelsAlone(model: LlamaForCausalLM): () => void {
  return registerEstimator(/^labels_alone$/, (request) =>
    scoringEstimator(
      LABELS_ALONE,
      {
        scoreMlp: ({ layer, input, layout }) => {
          // Where labelled tokens are dense they are the first rows.
          const rows = tf.range(0, layout.denseTokens, 1, 'int32') as tf.Tensor1D;
          const gate = linear(gatherRows(input, rows), model.frozenWeight(`model.layers.${layer}.mlp.gate_proj`));
          return tf.norm(gate, 2, 0) as tf.Tensor1D;
        },
      },
      request,
    ),
  );
}

/**
 * Trains a fresh adapter on random answers and asks it, with the channels chosen as in training, from the context alone, and densely.
 * @param config null for dense LoRA. Its labelled tokens must be dense.
 */
export async function leakTrial(
  model: LlamaForCausalLM,
  prompts: readonly (readonly number[])[],
  config: SpftConfig | null,
  setting: LeakSetting,
): Promise<LeakNumbers> {
  const { steps, batchSize, accumulation, copies, seed, learningRate, rank, answers } = setting;
  const samples = randomAnswers(prompts, steps * batchSize * accumulation, setting, 2 * seed);
  const held = randomAnswers(prompts, setting.held, setting, 2 * seed + 1);
  const peft = getPeftModel(model, { r: rank, loraAlpha: 2 * rank, targetModules: 'all-linear' }, { seed });
  const attached: SpftModel<TrainableModel>[] = [];
  try {
    const attach = async (chosen: SpftConfig): Promise<SpftModel<TrainableModel>> => {
      const calibration = calibrationData(model, samples);
      const spft = (await getSpftModel(peft, chosen, { calibration })) as unknown as SpftModel<TrainableModel>;
      attached.push(spft);
      return spft;
    };
    // Fitted before the adapter has learnt something, as in a run.
    const fromContext = config && (await attach({ ...config, ...CONTEXT_ALONE(config) }));
    const trained = config && (await attach(config));
    const trainer = new Trainer({
      model: (trained ?? peft) as unknown as TrainableModel,
      samples,
      args: {
        ...{ maxSteps: steps, perDeviceTrainBatchSize: batchSize, gradientAccumulationSteps: accumulation },
        ...{ learningRate, lrSchedulerType: 'cosine', warmupSteps: Math.ceil(steps / 20), loggingSteps: 1, seed },
        ...{ saveStrategy: 'no' },
      },
      notify: () => undefined,
    });
    const { state } = await trainer.train();
    const losses = state.logHistory.flatMap(({ loss }) => (loss === undefined ? [] : [copies * loss]));
    const ask = (spft: SpftModel<TrainableModel> | null) =>
      lossesOf(model, peft as unknown as TrainableModel, spft, held, setting);
    const training = meanOf(losses.slice(Math.floor(losses.length / 2)));
    const asTrained = meanOf(await ask(trained));
    const context = fromContext && meanOf(await ask(fromContext));
    const dense = meanOf(await ask(null));
    return {
      chance: Math.log(answers.length),
      ...{ training: training.mean, trainingError: training.error },
      ...{ asTrained: asTrained.mean, asTrainedError: asTrained.error },
      ...{ fromContext: context?.mean ?? null, fromContextError: context?.error ?? null },
      ...{ dense: dense.mean, denseError: dense.error },
    };
  } finally {
    for (const spft of attached) spft.dispose();
    peft.dispose();
  }
}

/** The same choice without a look at labelled tokens; for the planted leak, which has no such form, the paper's. */
const CONTEXT_ALONE = ({ mode }: SpftConfig): Partial<SpftConfig> => ({
  ...(mode === LABELS_ALONE && { mode: 'svd_8' }),
  scoreContextTokens: true,
});

/** Nats for an answer, batch by batch. */
async function lossesOf(
  host: { setSparsity(plan: SparsityPlan | null): void },
  model: TrainableModel,
  spft: SpftModel<TrainableModel> | null,
  samples: readonly Sample[],
  { batchSize, copies }: LeakSetting,
): Promise<number[]> {
  host.setSparsity(spft && { ...spft.plan, enabled: true, listener: null });
  const losses: number[] = [];
  for (let start = 0; start + batchSize <= samples.length; start += batchSize) {
    const batch = collate(
      samples.slice(start, start + batchSize),
      spft === null ? {} : { denseTokens: spft.denseTokens },
    );
    const loss = noGradient(() =>
      tf.tidy(() => model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount })),
    );
    losses.push(copies * (await loss.data())[0]!);
    loss.dispose();
  }
  return losses;
}

/** Mean and its standard error. */
export function meanOf(values: readonly number[]): { readonly mean: number; readonly error: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, error: Math.sqrt(squares / Math.max(1, values.length - 1) / values.length) };
}
