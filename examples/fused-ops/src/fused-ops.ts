/** @file Holds the fused functions against tfjs's own ops, and trains the layer by them, with all channels and with half of them. */
import { adamwUpdate, queryChannels, topKSelection, zeroMoments } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { fusedLoss, type Kept } from './fused.js';
import { CHANNELS, HEADS, makeBatch, makeLayer } from './layer.js';
import { plainLoss } from './plain.js';

/** Loss, gradients, and the bytes that the forward leaves for the backward. */
function take(f: () => tf.Scalar, variables: readonly tf.Variable[]) {
  let held = 0;
  const before = tf.memory().numBytes;
  const { value, grads } = tf.variableGrads(() => {
    const loss = tf.tidy(f);
    held = tf.memory().numBytes - before;
    return loss;
  }, [...variables]);
  return { loss: value.dataSync()[0]!, gradients: variables.map(({ name }) => grads[name]!), held };
}

/** Runs it and says what came of it, a line for each thing. */
export async function run(say: (line: string) => void): Promise<void> {
  await tf.setBackend('cpu');
  const batch = makeBatch();
  tf.tidy(() => {
    const layer = makeLayer();
    const plain = take(() => plainLoss(layer, batch), layer.variables);
    const fused = take(() => fusedLoss(layer, batch, null), layer.variables);
    const apart = plain.gradients.map((g, n) => {
      const difference = tf.norm(tf.sub(g, fused.gradients[n]!)).dataSync()[0]!;
      return difference / tf.norm(g).dataSync()[0]!;
    });
    say(`loss by tfjs's ops ${plain.loss.toFixed(4)}, by the fused functions ${fused.loss.toFixed(4)}`);
    say(`gradients of ${apart.length} matrices the same to 1e-5: ${apart.every((x) => x < 1e-5)}`);
    say(`held for the backward: ${Math.round(plain.held / 1024)} KiB and ${Math.round(fused.held / 1024)} KiB`);
    tf.dispose([...layer.variables]);
  });
  for (const what of ['all channels', 'half of the channels'] as const) {
    const layer = makeLayer();
    // By the norms of the frozen rows; an estimator of @spft/estimator chooses by the batch.
    const norms = (name: 'k' | 'gate') => tf.tidy(() => tf.norm(layer.weights[name], 2, 1) as tf.Tensor1D);
    const kv = topKSelection(norms('k'), (HEADS.kvHeads * HEADS.headDim) / 2);
    const kept: Kept = { kv, q: queryChannels(kv, HEADS), mlp: topKSelection(norms('gate'), CHANNELS / 2) };
    const state = { firstMoments: zeroMoments(layer.variables), secondMoments: zeroMoments(layer.variables) };
    const losses: number[] = [];
    for (let step = 1; step <= 30; step++) {
      tf.tidy(() => {
        const f = () => fusedLoss(layer, batch, what === 'all channels' ? null : kept);
        const { loss, gradients } = take(f, layer.variables);
        adamwUpdate(layer.variables, gradients, state, { step, learningRate: 0.01 });
        if (step % 10 === 1 || step === 30) losses.push(loss / batch.labels.size);
      });
    }
    say(`training with ${what}: ${losses.map((loss) => loss.toFixed(2)).join(' ')}`);
  }
}
