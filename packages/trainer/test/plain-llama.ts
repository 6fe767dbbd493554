/**
 * @file A Llama with LoRA and channel sparsity in plain loops and double precision, one sequence at a time, token by token: the oracle of the golden
 * training state. It shares no code with what it is compared to; gradients are central differences.
 */
import type { LlamaConfig } from '@spft/models';

export interface PlainModel {
  readonly config: LlamaConfig;
  /** Row-major values by name, as a checkpoint has them. */
  readonly weights: ReadonlyMap<string, { readonly data: ArrayLike<number> }>;
  /** `lora_A` [r, in] and `lora_B` [out, r] by full name; other layers have none. */
  readonly adapters: ReadonlyMap<string, Float64Array>;
  readonly loraScale: number;
  readonly rank: number;
  /** Kept channels of a layer for sparse tokens; null where it is dense. */
  kept(layer: number): {
    readonly mlp: ReadonlySet<number> | null;
    readonly q: ReadonlySet<number> | null;
    readonly kv: ReadonlySet<number> | null;
  };
}

type Vector = Float64Array;

/** W·x, restricted to kept outputs or kept inputs where they are given: what is dropped is zero. */
function product(
  { weights }: PlainModel,
  name: string,
  x: Vector,
  outFeatures: number,
  { outputs = null, inputs = null }: { outputs?: ReadonlySet<number> | null; inputs?: ReadonlySet<number> | null } = {},
): Vector {
  const { data } = weights.get(`${name}.weight`)!;
  const y = new Float64Array(outFeatures);
  for (let o = 0; o < outFeatures; o++) {
    if (outputs !== null && !outputs.has(o)) continue;
    let sum = 0;
    for (let i = 0; i < x.length; i++) {
      if (inputs === null || inputs.has(i)) sum += data[o * x.length + i]! * x[i]!;
    }
    y[o] = sum;
  }
  return y;
}

/** Adds s·B·A·x, of all channels whatever is dropped. */
function addAdapter({ adapters, rank, loraScale }: PlainModel, name: string, x: Vector, y: Vector): Vector {
  const [a, b] = [adapters.get(`${name}.lora_A.weight`), adapters.get(`${name}.lora_B.weight`)];
  if (!a || !b) return y;
  for (let r = 0; r < rank; r++) {
    let h = 0;
    for (let i = 0; i < x.length; i++) h += a[r * x.length + i]! * x[i]!;
    for (let o = 0; o < y.length; o++) y[o]! += loraScale * b[o * rank + r]! * h;
  }
  return y;
}

function norm({ weights, config }: PlainModel, name: string, x: Vector): Vector {
  const { data } = weights.get(`${name}.weight`)!;
  const mean = x.reduce((sum, value) => sum + value * value, 0) / x.length;
  return x.map((value, i) => (value / Math.sqrt(mean + config.rmsNormEps)) * data[i]!);
}

/** Turns channel i of each head together with channel i + d/2. */
function turned(x: Vector, position: number, { headDim: d, ropeTheta }: LlamaConfig): Vector {
  const y = new Float64Array(x.length);
  for (let head = 0; head < x.length; head += d) {
    for (let i = 0; i < d / 2; i++) {
      const angle = position / ropeTheta ** ((2 * i) / d);
      const [first, second] = [x[head + i]!, x[head + i + d / 2]!];
      y[head + i] = first * Math.cos(angle) - second * Math.sin(angle);
      y[head + i + d / 2] = second * Math.cos(angle) + first * Math.sin(angle);
    }
  }
  return y;
}

/** Causal attention of the token at the end of `keys`. */
function attention(query: Vector, keys: readonly Vector[], values: readonly Vector[], config: LlamaConfig): Vector {
  const { headDim: d, numAttentionHeads, numKeyValueHeads } = config;
  const y = new Float64Array(query.length);
  for (let head = 0; head < numAttentionHeads; head++) {
    const kv = Math.floor(head / (numAttentionHeads / numKeyValueHeads));
    const scores = keys.map((key) => {
      let dot = 0;
      for (let i = 0; i < d; i++) dot += query[head * d + i]! * key[kv * d + i]!;
      return Math.exp(dot / Math.sqrt(d));
    });
    const total = scores.reduce((sum, score) => sum + score, 0);
    scores.forEach((score, t) => {
      for (let i = 0; i < d; i++) y[head * d + i]! += (score / total) * values[t]![kv * d + i]!;
    });
  }
  return y;
}

/** Sum of the cross-entropy over the labels of one sequence. Tokens without a label are sparse. */
export function plainLoss(model: PlainModel, inputIds: ArrayLike<number>, labels: ArrayLike<number>): number {
  const { config, weights } = model;
  const { hiddenSize: H, intermediateSize: I, headDim, numAttentionHeads, numKeyValueHeads } = config;
  const [N, K] = [numAttentionHeads * headDim, numKeyValueHeads * headDim];
  const embedding = weights.get('model.embed_tokens.weight')!.data;
  const ids = Array.from(inputIds);
  const sparse = ids.map((_, t) => labels[t] === -100);
  let hidden = ids.map((id) => Float64Array.from({ length: H }, (_, i) => embedding[id * H + i]!));
  for (let layer = 0; layer < config.numHiddenLayers; layer++) {
    const at = `model.layers.${layer}`;
    const kept = model.kept(layer);
    const channels = (part: 'mlp' | 'q' | 'kv', t: number) => (sparse[t] ? kept[part] : null);
    const [keys, values]: [Vector[], Vector[]] = [[], []];
    hidden = hidden.map((x, t) => {
      const h = norm(model, `${at}.input_layernorm`, x);
      const project = (part: 'q' | 'k' | 'v', size: number, outputs: ReadonlySet<number> | null) => {
        const name = `${at}.self_attn.${part}_proj`;
        return addAdapter(model, name, h, product(model, name, h, size, { outputs }));
      };
      keys.push(turned(project('k', K, channels('kv', t)), t, config));
      values.push(project('v', K, channels('kv', t)));
      const mixed = attention(turned(project('q', N, channels('q', t)), t, config), keys, values, config);
      const out = product(model, `${at}.self_attn.o_proj`, mixed, H, { inputs: channels('q', t) });
      const middle = x.map((value, i) => value + out[i]!);

      const m = norm(model, `${at}.post_attention_layernorm`, middle);
      const outputs = channels('mlp', t);
      const gate = product(model, `${at}.mlp.gate_proj`, m, I, { outputs });
      const up = product(model, `${at}.mlp.up_proj`, m, I, { outputs });
      const activations = gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
      const down = product(model, `${at}.mlp.down_proj`, activations, H);
      return middle.map((value, i) => value + down[i]!);
    });
  }
  let loss = 0;
  for (let t = 0; t + 1 < ids.length; t++) {
    const label = labels[t + 1]!;
    if (label === -100) continue;
    const logits = product(model, 'lm_head', norm(model, 'model.norm', hidden[t]!), config.vocabSize);
    loss += Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0)) - logits[label]!;
  }
  return loss;
}

/** The slope of `loss` in each value of each adapter. */
export function centralDifferences(
  adapters: ReadonlyMap<string, Float64Array>,
  loss: () => number,
  h = 1e-5,
): Map<string, Float64Array> {
  return new Map(
    [...adapters].map(([name, values]) => [
      name,
      Float64Array.from(values, (value, n) => {
        values[n] = value + h;
        const above = loss();
        values[n] = value - h;
        const below = loss();
        values[n] = value;
        return (above - below) / (2 * h);
      }),
    ]),
  );
}
