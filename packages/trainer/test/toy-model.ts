/**
 * @file A model that a test can train in milliseconds: frozen random embeddings, a low-rank trainable map to the vocabulary, dropout.
 * Predicts each token from the one before it, through the packed layout, as a real model does.
 */
import type { ForwardOptions, PackedBatch, TrainableModel } from '@spft/models';
import * as tf from '@tensorflow/tfjs';
import { IGNORED_LABEL, type Sample } from '../src/batch/samples.js';

export interface ToyModel extends TrainableModel {
  dispose(): void;
  /** Options of every call of `loss`. */
  readonly calls: (ForwardOptions & { normalizer: number })[];
}

export interface ToyOptions {
  readonly vocabulary?: number;
  readonly hidden?: number;
  readonly dropout?: number;
  readonly seed?: number;
  /** Start values of the trainable map; the embeddings keep to `seed`. */
  readonly start?: number;
}

export function toyModel({
  vocabulary = 11,
  hidden = 6,
  dropout = 0,
  seed = 1,
  start = seed,
}: ToyOptions = {}): ToyModel {
  const random = (shape: [number, number], part: number) => tf.randomNormal(shape, 0, 0.5, 'float32', part);
  const embedding = random([vocabulary, hidden], 10 * seed) as tf.Tensor2D;
  const variables = new Map<string, tf.Variable>([
    ['toy.lora_A.weight', tf.tidy(() => tf.variable(random([hidden, hidden], 10 * start + 1)))],
    ['toy.lora_B.weight', tf.tidy(() => tf.variable(random([hidden, vocabulary], 10 * start + 2)))],
    ['toy.bias', tf.tidy(() => tf.variable(tf.zeros([vocabulary])))],
  ]);
  const calls: ToyModel['calls'] = [];
  return {
    variables,
    calls,
    loss(batch, options) {
      calls.push(options);
      const { rows, labels } = predicted(batch);
      if (rows.length === 0) throw new RangeError('toy: no labelled token');
      const [a, b, bias] = [...variables.values()];
      const ids = tf.tensor1d(
        rows.map((token) => batch.inputIds[token]!),
        'int32',
      );
      let x = tf.gather(embedding, ids);
      if (options.training && dropout > 0) {
        const kept = tf.cast(tf.greater(tf.randomUniform(x.shape, 0, 1, 'float32', options.seed), dropout), 'float32');
        x = tf.div(tf.mul(x, kept), 1 - dropout);
      }
      const logits = tf.add(tf.matMul(tf.matMul(x, a as tf.Tensor2D), b as tf.Tensor2D), bias!);
      const logProbabilities = tf.sub(logits, tf.logSumExp(logits, 1, true));
      const wanted = tf.cast(tf.oneHot(tf.tensor1d(labels, 'int32'), vocabulary), 'float32');
      return tf.div(tf.neg(tf.sum(tf.mul(logProbabilities, wanted))), options.normalizer) as tf.Scalar;
    },
    dispose() {
      tf.dispose([embedding, ...variables.values()]);
    },
  };
}

/** Tokens whose successor has a label, and those labels. */
function predicted({ labels, layout }: PackedBatch): { rows: number[]; labels: number[] } {
  const rows: number[] = [];
  const wanted: number[] = [];
  for (let b = 0; b + 1 < layout.sequenceStarts.length; b++) {
    for (let t = layout.sequenceStarts[b]! + 1; t < layout.sequenceStarts[b + 1]!; t++) {
      if (labels[t] === IGNORED_LABEL) continue;
      rows.push(t - 1);
      wanted.push(labels[t]!);
    }
  }
  return { rows, labels: wanted };
}

/** Samples of a rule that the toy can learn: the next token is 3·token + 1 modulo the vocabulary. */
export function toySamples(count: number, vocabulary = 11): Sample[] {
  return Array.from({ length: count }, (_, n) => {
    const length = 4 + (n % 4);
    const inputIds = [(n * 7) % vocabulary];
    while (inputIds.length < length) inputIds.push((inputIds.at(-1)! * 3 + 1) % vocabulary);
    const context = 1 + (n % 2);
    return { inputIds, labels: inputIds.map((id, t) => (t < context ? IGNORED_LABEL : id)) };
  });
}

/** Values of all variables. */
export function valuesOf(model: TrainableModel): Record<string, number[]> {
  return Object.fromEntries([...model.variables].map(([name, variable]) => [name, [...variable.dataSync()]]));
}
