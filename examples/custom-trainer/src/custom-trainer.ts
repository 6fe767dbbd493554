/**
 * @file Sparse fine-tuning of something that is no language model, in a loop of its own: estimator and sparse ops as plain TensorFlow.js
 * functions, `tf.train.adam` as optimizer, no trainer, no config, no decoder.
 *
 * A gated MLP has learned which squares of a chess board are black. The board moves; the MLP is frozen and LoRA adapters learn the new
 * place, once with all of its channels, once with the quarter that an SVD estimator picks for each batch. A batch is one corner of the
 * board, so each batch wants other channels: that is the context of "contextual sparsity".
 */
import { buildPredictor, Predictors, svdEstimator } from '@spft/estimator';
import * as ops from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';

/** Features of a point, hidden and intermediate channels, classes, points in a batch, rank of adapters and predictors. */
const [F, H, I, V, T, r] = [32, 32, 256, 2, 128, 8];
/** A batch is one sequence of T tokens, and none of them is an output: all rows may be sparse. */
const layout = ops.packTokens({ lengths: [T], dense: () => false });

/** [T, F] waves over the plane at each point, [T] its colour. */
type Batch = { readonly x: tf.Tensor2D; readonly labels: tf.Tensor1D };

/** Points of one of the four corners of a board that lies `shift` to the right; the same for the same seed. */
function board(seed: number, shift: number): Batch {
  return tf.tidy(() => {
    const corner = [seed & 1 ? 1 : -1, seed & 2 ? 1 : -1];
    const points = tf.add(tf.randomUniform([T, 2], -1, 1, 'float32', seed), corner) as tf.Tensor2D;
    const waves = tf.randomNormal([2, F / 2], 0, 1.5, 'float32', 7) as tf.Tensor2D;
    const angles = tf.matMul(points, waves);
    const squares = tf.sum(tf.floor(tf.add(points, [shift, 0])), 1);
    return {
      x: tf.concat([tf.sin(angles), tf.cos(angles)], 1) as tf.Tensor2D,
      labels: tf.cast(tf.mod(squares, 2), 'int32') as tf.Tensor1D,
    };
  });
}

const random = (shape: [number, number], seed: number) =>
  tf.randomNormal(shape, 0, 1 / Math.sqrt(shape[1]), 'float32', seed) as tf.Tensor2D;
/** tidy: a variable copies its initial value. */
const variable = (initial: () => tf.Tensor2D) => tf.tidy(() => tf.variable(initial()));

/** Weights [out, in]. */
type Weights = Readonly<Record<'embed' | 'gate' | 'up' | 'down' | 'head', tf.Tensor2D>>;
type Adapter = readonly [loraA: tf.Variable<tf.Rank.R2>, loraB: tf.Variable<tf.Rank.R2>];

/** Learns the board as it was, all weights but the head's free. tfjs's own ops: those of sparse-ops hold weights fixed. */
function pretrain(steps: number): Weights {
  const shapes = { embed: [H, F], gate: [I, H], up: [I, H], down: [H, I] } as const;
  const w = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], n) => [name, variable(() => random([...shape], n + 1))]),
  ) as Record<keyof typeof shapes, tf.Variable<tf.Rank.R2>>;
  const head = random([V, H], 9);
  const optimizer = tf.train.adam(3e-3);
  for (let step = 0; step < steps; step++) {
    tf.tidy(() => {
      const { x, labels } = board(step, 0);
      optimizer.minimize(() => {
        const h = tf.matMul(x, w.embed, false, true);
        const inner = ops.swiglu(tf.matMul(h, w.gate, false, true), tf.matMul(h, w.up, false, true));
        const y = tf.add(h, tf.matMul(inner, w.down, false, true)) as tf.Tensor2D;
        return tf.div(ops.linearCrossEntropy(y, head, labels), T);
      });
    });
  }
  optimizer.dispose();
  return { ...w, head };
}

/** [T, H] before the head: frozen weights with adapters on `embed` and `down`, and the MLP on all channels or on those chosen for x. */
function forward(x: tf.Tensor2D, w: Weights, lora: Record<'embed' | 'down', Adapter>, choose?: Choose): tf.Tensor2D {
  const h = ops.loraLinear(x, ops.linear(x, w.embed), ...lora.embed, 1);
  const keep = choose?.(h);
  if (!keep) {
    const inner = ops.swiglu(ops.linear(h, w.gate), ops.linear(h, w.up));
    return tf.add(h, ops.loraLinear(inner, ops.linear(inner, w.down), ...lora.down, 1));
  }
  const inner = ops.swiglu(ops.linearKeptRows(h, w.gate, keep), ops.linearKeptRows(h, w.up, keep)); // [T, kept]
  const output = ops.linearKeptColumns(inner, w.down, keep);
  // The adapter sees what it sees densely, with zeros for what was not computed.
  return tf.add(h, ops.loraLinear(ops.scatterColumns(inner, keep), output, ...lora.down, 1));
}
type Choose = (h: tf.Tensor2D) => ops.ChannelSelection | null;

/** Learns the new board; returns the loss of every step, and the accuracy on points that it has not seen. */
function finetune(w: Weights, shift: number, steps: number, choose?: Choose) {
  const adapter = (out: number, inputs: number, seed: number): Adapter => [
    variable(() => random([r, inputs], seed)),
    variable(() => tf.zeros([out, r])),
  ];
  const lora = { embed: adapter(H, F, 11), down: adapter(H, I, 12) };
  const optimizer = tf.train.adam(1e-2);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    tf.tidy(() => {
      const { x, labels } = board(1000 + step, shift);
      const loss = optimizer.minimize(
        () => tf.div(ops.linearCrossEntropy(forward(x, w, lora, choose), w.head, labels), T),
        true,
        [...lora.embed, ...lora.down],
      );
      losses.push(loss!.dataSync()[0]!);
    });
  }
  const right = Array.from({ length: 8 }, (_, n) =>
    tf.tidy(() => {
      const { x, labels } = board(50_000 + n, shift);
      const guesses = tf.argMax(ops.linear(forward(x, w, lora, choose), w.head), 1);
      return tf.mean(tf.cast(tf.equal(guesses, labels), 'float32')).dataSync()[0]!;
    }),
  );
  tf.dispose([lora.embed, lora.down] as unknown as tf.Tensor[]);
  optimizer.dispose();
  return { losses, accuracy: mean(right) };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The whole story; everything that it made is gone when it returns. */
export async function run({ steps = 250, sparsity = 0.75, print = console.log as (line: string) => void } = {}) {
  const w = pretrain(2 * steps);
  // Predictors go by a Llama's names; this MLP is its layer 0.
  const projections = new Map([
    ['model.layers.0.mlp.gate_proj', await buildPredictor(w.gate, r)],
    ['model.layers.0.mlp.up_proj', await buildPredictor(w.up, r)],
  ]);
  const estimator = svdEstimator(`svd_${r}`, new Predictors(r, projections, null), {
    mlpSeqAvg: false, // scores from every point, not from their mean
  });
  let share = 1;
  const choose: Choose = (input) => {
    const keep = estimator.selectMlp({ layer: 0, sparsity, input, layout, seed: 0, channels: I });
    if (keep) share = keep.kept / keep.total;
    return keep;
  };
  const [untouched, dense, sparse] = [finetune(w, 0.5, 0), finetune(w, 0.5, steps), finetune(w, 0.5, steps, choose)];
  const row = (name: string, channels: number, { losses, accuracy }: typeof dense) => {
    const last = losses.length > 0 ? mean(losses.slice(-40)).toFixed(3) : '–';
    print(
      `${name.padEnd(8)} ${`${Math.round(100 * channels)} %`.padStart(9)} ${last.padStart(6)} ${`${(100 * accuracy).toFixed(1)} %`.padStart(9)}`,
    );
  };
  print(`${''.padEnd(8)} channels   loss  accuracy`);
  row('frozen', 1, untouched);
  row('dense', 1, dense);
  row('sparse', share, sparse);
  estimator.dispose();
  tf.dispose(w as unknown as tf.Tensor[]);
  return { untouched, dense, sparse, share };
}
