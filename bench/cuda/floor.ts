/**
 * @file The floor of a row: the frozen products of its step alone, forward and backward, with the head on labelled rows, on the model's own
 * weights and random activations; nothing between them. What a step takes beyond it is attention, adapters, norms, gathers and the rest.
 */
import { type CudaBackend, randomTensor } from '@spft/backend-cuda';
import type { LlamaForCausalLM } from '@spft/models';
import { storeAs } from '@spft/sparse-ops';
import { formOf } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { RowBatch } from './llama.js';

/** Kept channels of a layer's MLP and of its kv channels; null where all are. */
export interface KeptChannels {
  readonly mlp: number | null;
  readonly kv: number | null;
}

interface Frozen {
  readonly weight: tf.Tensor2D;
  /** Rows of the activation; outputs and inputs that are computed. */
  readonly rows: number;
  readonly out: number;
  readonly inputs: number;
}

function products(
  model: LlamaForCausalLM,
  { layout, labelledTokens }: RowBatch,
  kept: readonly KeptChannels[],
): Frozen[] {
  const { tokens: T, denseTokens: D } = layout;
  const list: Frozen[] = [];
  model.parts.layers.forEach(({ attention, mlp }, n) => {
    const { heads, kvHeads } = attention.heads;
    const add = (weight: tf.Tensor2D, keptOut: number | null, keptIn: number | null) => {
      const [out, inputs] = weight.shape;
      const isKept = keptOut !== null || keptIn !== null;
      if (!isKept || D > 0) list.push({ weight, rows: isKept ? D : T, out, inputs });
      if (isKept) list.push({ weight, rows: T - D, out: keptOut ?? out, inputs: keptIn ?? inputs });
    };
    const { kv, mlp: channels } = kept[n]!;
    const q = kv === null ? null : (kv * heads) / kvHeads;
    add(attention.q.weight, q, null);
    add(attention.k.weight, kv, null);
    add(attention.v.weight, kv, null);
    add(attention.o.weight, null, q);
    add(mlp.gate.weight, channels, null);
    add(mlp.up.weight, channels, null);
    add(mlp.down.weight, null, channels);
  });
  const [out, inputs] = model.embeddingLayers.outputWeight.shape;
  list.push({ weight: model.embeddingLayers.outputWeight, rows: labelledTokens, out, inputs });
  return list;
}

const isPacked = (weight: tf.Tensor2D) => formOf(weight) === 'nf4';

/** Median milliseconds of `repeats` rounds after two. */
export function floorMilliseconds(
  model: LlamaForCausalLM,
  batch: RowBatch,
  kept: readonly KeptChannels[],
  repeats: number,
): number {
  const backend = tf.backend() as CudaBackend;
  const frozen = products(model, batch, kept);
  const ofForm = codesFloor(backend, frozen);
  const most = Math.max(...frozen.map(({ rows, out, inputs }) => rows * Math.max(out, inputs)));
  const [x, y] = [1, 2].map((seed) =>
    randomTensor([most], { seed, distribution: 'normal', deviation: 0.05, physical: 'bf16' }),
  ) as [tf.Tensor, tf.Tensor];
  const types = { type: 'bf16', outputType: 'bf16' } as const;
  const packed = frozen.filter(({ weight }) => isPacked(weight));
  // What codes of four bits are unpacked to; that it is done is no part of the floor.
  const whole = Math.max(0, ...packed.map(({ weight }) => weight.size));
  const unpacked =
    whole > 0 ? randomTensor([whole], { seed: 4, distribution: 'normal', deviation: 0.02, physical: 'bf16' }) : null;
  const address = (weight: tf.Tensor2D) => backend.address(isPacked(weight) ? unpacked! : weight);
  const round = () => {
    for (const { weight, rows, out, inputs } of frozen) {
      const [a, d] = [backend.address(x), backend.address(y)];
      if (ofForm?.(weight, rows, out, inputs, d)) continue;
      backend.multiply({ ...types, m: rows, n: out, k: inputs, transposeB: true, a, b: address(weight), d });
    }
    for (const { weight, rows, out, inputs } of [...frozen].reverse()) {
      const [a, d] = [backend.address(x), backend.address(y)];
      if (ofForm?.(weight, rows, inputs, out, d)) continue;
      backend.multiply({ ...types, m: rows, n: inputs, k: out, a, b: address(weight), d });
    }
  };
  round();
  round();
  const taken = Array.from({ length: repeats }, () => backend.device.milliseconds(round));
  tf.dispose([x, y]);
  unpacked?.dispose();
  ofForm?.end();
  return taken.sort((a, b) => a - b)[Math.floor(repeats / 2)]!;
}

/**
 * Products of matrices in FP8, both operands codes. Gradients' products have the same bytes in the other shape, as if the transposed codes were there.
 * Null where no matrix is in FP8.
 */
function codesFloor(backend: CudaBackend, frozen: readonly Frozen[]) {
  const coded = frozen.filter(({ weight }) => formOf(weight) === 'fp8');
  if (coded.length === 0) return null;
  const [rows, columns] = [
    Math.max(...coded.map(({ rows }) => rows)),
    Math.max(...coded.flatMap(({ out, inputs }) => [out, inputs])),
  ];
  const x = randomTensor([rows, columns], { seed: 3, distribution: 'normal', deviation: 0.05, physical: 'bf16' });
  const codes = storeAs(x as tf.Tensor2D, 'fp8');
  x.dispose();
  const scales = tf.ones([rows]);
  const run = (weight: tf.Tensor2D, m: number, n: number, k: number, d: number): boolean => {
    if (formOf(weight) !== 'fp8') return false;
    const [a, scaleA] = [backend.address(codes), backend.address(scales)];
    backend.multiply({
      ...{ m, n, k, transposeB: true, type: 'e4m3', outputType: 'bf16', a, b: backend.address(weight), d },
      ...{ scaleA, scaledByRow: backend.scalesRows },
    });
    return true;
  };
  return Object.assign(run, { end: () => tf.dispose([codes, scales]) });
}
