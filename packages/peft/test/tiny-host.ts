/** @file The smallest host of adapters: linear layers named as in a Llama model, each callable. */
import { linear } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { AdapterCall, AdapterHost, FrozenLinear, LinearAdapter } from '../src/index.js';
import { uniformGenerator } from '../src/init.js';

class TinyLinear implements FrozenLinear {
  adapter: LinearAdapter | null = null;

  constructor(
    readonly name: string,
    public weight: tf.Tensor2D,
    readonly bias: tf.Tensor1D | null,
  ) {}

  get outFeatures(): number {
    return this.weight.shape[0];
  }
  get inFeatures(): number {
    return this.weight.shape[1];
  }
}

export class TinyHost implements AdapterHost {
  readonly linears: ReadonlyMap<string, TinyLinear>;

  /** @param shapes [out, in] by name. */
  constructor(shapes: Readonly<Record<string, readonly [number, number]>>, { seed = 1, bias = false } = {}) {
    const random = uniformGenerator(seed);
    const values = (n: number) => Float32Array.from({ length: n }, () => 2 * random() - 1);
    this.linears = new Map(
      Object.entries(shapes).map(([name, [out, input]]) => [
        name,
        new TinyLinear(name, tf.tensor2d(values(out * input), [out, input]), bias ? tf.tensor1d(values(out)) : null),
      ]),
    );
  }

  setAdapter(name: string, adapter: LinearAdapter | null): void {
    this.linears.get(name)!.adapter = adapter;
  }

  replaceWeight(name: string, weight: tf.Tensor2D): void {
    const layer = this.linears.get(name)!;
    layer.weight.dispose();
    layer.weight = weight;
  }

  /** A layer with its adapter, if it has one. */
  forward(name: string, x: tf.Tensor2D, call: AdapterCall = { training: false, seed: 0 }): tf.Tensor2D {
    return tf.tidy(() => {
      const layer = this.linears.get(name)!;
      const base = linear(x, layer.weight, layer.bias);
      return layer.adapter ? layer.adapter.forward(x, base, call) : base;
    });
  }

  /** Sum of the first layer's output times a factor. */
  loss(x: tf.Tensor2D, options: { factor: number }): tf.Scalar {
    return tf.tidy(() => tf.sum(this.forward([...this.linears.keys()][0]!, x)).mul(options.factor) as tf.Scalar);
  }

  dispose(): void {
    for (const layer of this.linears.values()) tf.dispose([layer.weight, ...(layer.bias ? [layer.bias] : [])]);
  }
}

/** Shapes of the linear layers of a Llama model, of the golden models' sizes where nothing else is said. */
export function llamaShapes({ layers = 4, hidden = 64, kv = 32, intermediate = 160 } = {}) {
  const shapes: Record<string, readonly [number, number]> = {};
  for (let n = 0; n < layers; n++) {
    const at = `model.layers.${n}`;
    shapes[`${at}.self_attn.q_proj`] = [hidden, hidden];
    shapes[`${at}.self_attn.k_proj`] = [kv, hidden];
    shapes[`${at}.self_attn.v_proj`] = [kv, hidden];
    shapes[`${at}.self_attn.o_proj`] = [hidden, hidden];
    shapes[`${at}.mlp.gate_proj`] = [intermediate, hidden];
    shapes[`${at}.mlp.up_proj`] = [intermediate, hidden];
    shapes[`${at}.mlp.down_proj`] = [hidden, intermediate];
  }
  return shapes;
}
