/**
 * @file Channels chosen by a scoring function of one's own: registered under a name, asked for by a config's `mode`, and used to fine-tune
 * the quickstart's base for some steps; once in plain TypeScript, once compiled by gpu.js. Both must choose the same channels.
 */
import { fileURLToPath } from 'node:url';
import { SpftConfig } from '@spft/config';
import { getSpftModel, registerEstimator, type SparsityHost, scoringEstimator } from '@spft/estimator';
import { fromPretrained, loadTokenizer } from '@spft/models/node';
import { getPeftModel } from '@spft/peft';
import { Trainer, tokenizeRecords } from '@spft/trainer';
import { loadDataset } from '@spft/trainer/node';
import * as tf from '@tensorflow/tfjs';
import { type MlpWeights, type ScoreChannels, scoreChannels } from './score-channels.js';
import { createGpuScores } from './score-channels-gpu.js';

const BASE = fileURLToPath(new URL('../../quickstart/base', import.meta.url));
const DATA = fileURLToPath(new URL('../../quickstart/data/train.json', import.meta.url));

/** Makes `mean_token` a mode of the configs for `model`, with scores by `score`; returns what takes it back. */
function registerMeanToken(model: SparsityHost, score: ScoreChannels): () => void {
  const weights = new Map<number, MlpWeights>();
  const read = (layer: number): MlpWeights => {
    const [gate, up, down] = ['gate', 'up', 'down'].map((part) =>
      model.frozenWeight(`model.layers.${layer}.mlp.${part}_proj`),
    ) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
    const reach = tf.tidy(() => tf.norm(down, 'euclidean', 0).dataSync<'float32'>());
    return { hidden: model.hiddenSize, gate: gate.dataSync<'float32'>(), up: up.dataSync<'float32'>(), reach };
  };
  return registerEstimator(/^mean_token$/, (request) =>
    scoringEstimator(
      request.mode,
      {
        scoreMlp({ layer, input }) {
          if (!weights.has(layer)) weights.set(layer, read(layer));
          // Scores on the host need the mean token there. Free on wasm and cpu; on a GPU's backend it would wait for the device.
          return score(tf.mean(input, 0).dataSync<'float32'>(), weights.get(layer)!);
        },
      },
      request,
    ),
  );
}

/** Fine-tunes with the mode `mean_token`; returns the loss of each step and every choice that was made. */
async function finetune(score: ScoreChannels, steps: number) {
  const model = await fromPretrained(BASE);
  const tokenizer = await loadTokenizer(BASE);
  const { records } = await loadDataset(DATA);
  const { samples } = tokenizeRecords(tokenizer, records.slice(0, 8 * steps), { maxLength: 256 });

  const unregister = registerMeanToken(model, score);
  const peft = getPeftModel(model, { r: 16, loraAlpha: 32, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'] });
  const config = SpftConfig.fromObject({
    mode: 'mean_token',
    skip_output_tokens: true,
    sparsity: { 'layers.0.mlp': 0, 'layers.1.mlp': 0.9, 'layers.2.mlp': 0.9, 'layers.3.mlp': 0.9 },
  });
  const choices: Int32Array[] = [];
  const spft = await getSpftModel(peft, config, {
    listener: ({ selection }) => choices.push(selection.indices.dataSync<'int32'>().slice()),
  });

  const trainer = new Trainer({
    model: spft,
    samples,
    args: { maxSteps: steps, perDeviceTrainBatchSize: 8, learningRate: 2e-3, loggingSteps: 1, saveStrategy: 'no' },
  });
  const { state } = await trainer.train();
  const { kept, total } = spft.summary()[1]!.mlp;

  spft.dispose();
  peft.dispose();
  model.dispose();
  unregister();
  return { losses: state.logHistory.flatMap(({ loss }) => loss ?? []), choices, kept, total };
}

export async function run({ steps = 10, gpuMode, print = console.log }: RunOptions = {}) {
  const gpu = createGpuScores(gpuMode);
  const plain = await finetune(scoreChannels, steps);
  const compiled = await finetune(gpu.scoreChannels, steps);
  const compiledFor = gpu.compiledFor();
  await gpu.dispose();

  const same = plain.choices.filter((choice, n) => choice.every((c, i) => c === compiled.choices[n]![i])).length;
  const losses = ({ losses }: typeof plain) => losses.map((loss) => loss.toFixed(3)).join(' ');
  print(`loss, plain TypeScript: ${losses(plain)}`);
  print(`loss, gpu.js (${compiledFor}): ${losses(compiled)}`);
  print(
    `${plain.kept} of ${plain.total} channels in three of four layers; ${same} of ${plain.choices.length} choices the same`,
  );
  return { plain, compiled, compiledFor, same };
}

export interface RunOptions {
  readonly steps?: number;
  /** By default the best that gpu.js finds. */
  readonly gpuMode?: 'gpu' | 'cpu';
  readonly print?: (line: string) => void;
}
