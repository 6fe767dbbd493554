/** @file A model of random weights that can do nothing but be looked at: enough of a host for predictors and plans. */
import * as tf from '@tensorflow/tfjs';
import { projectionShape, type SparsityHost, type SparsityPlan } from '../src/index.js';
import { randomNormals } from '../src/random.js';

export interface FakeHost extends SparsityHost {
  plan: SparsityPlan | null;
  dispose(): void;
}

export function fakeHost({ seed = 1, layerCount = 3, hiddenSize = 12, intermediateSize = 20 } = {}): FakeHost {
  const weights = new Map<string, tf.Tensor2D>();
  const host: FakeHost = {
    layerCount,
    hiddenSize,
    intermediateSize,
    headLayout: { heads: 4, kvHeads: 2, headDim: 4 },
    plan: null,
    frozenWeight(name) {
      const known = weights.get(name);
      if (known) return known;
      const layer = Number(/^model\.layers\.(\d+)\.\w+\.\w+_proj$/.exec(name)?.[1]);
      if (!(layer < layerCount)) throw new RangeError(`fake host: no weight ${name}`);
      const [out, inputs] = projectionShape(name, host);
      const salt = [...name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) >>> 0, seed);
      const weight = tf.keep(tf.tensor2d(randomNormals(out * inputs, salt), [out, inputs]));
      weights.set(name, weight);
      return weight;
    },
    setSparsity(plan) {
      host.plan = plan;
    },
    dispose() {
      for (const weight of weights.values()) weight.dispose();
    },
  };
  // All weights exist from the start, so that leak tests see none appear.
  for (let layer = 0; layer < layerCount; layer++) {
    for (const part of ['mlp.gate', 'mlp.up', 'self_attn.q', 'self_attn.k', 'self_attn.v']) {
      host.frozenWeight(`model.layers.${layer}.${part}_proj`);
    }
  }
  return host;
}
