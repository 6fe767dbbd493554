/**
 * @file Memory and time of a LoRA step with the base in shards, on paper: formulas over a model's shape, a number of GPUs and what a machine gives
 * (machine.ts). `simulate.ts` plays the same step event by event; a test holds one against the other, and the table of docs/SEVERAL-GPUS.md against both.
 */
import type { Machine } from './machine.js';
import { type ModelShape, matricesOf, numbersOfEnds, numbersOfLayer } from './shapes.js';

/** Bytes a number of a frozen matrix: with one scale for 64 numbers, itself in 8 bits, 4 bits are 0.516 bytes. */
export const FORM_BYTES = { bf16: 2, fp8: 1, nf4: 0.5 + 1 / 64 } as const;
export type Form = keyof typeof FORM_BYTES;

export interface Run {
  readonly shape: ModelShape;
  readonly gpus: number;
  readonly form: Form;
  /** Tokens of a GPU's batch, and how many of them carry a label. */
  readonly tokens: number;
  readonly labelled: number;
  /** Rank of the adapters of q, k, v and o. */
  readonly rank: number;
}

/** Whole layers at one time. */
const BUFFERS = 2;
/** Rows whose logits exist at once. */
const LOGIT_ROWS = 1024;

export interface Memory {
  /** This GPU's part of the linear layers. */
  readonly shards: number;
  readonly buffers: number;
  /** Embedding and head in bf16. */
  readonly ends: number;
  /** Adapters: weights, gradients and two moments in float32, and the weights in bf16. */
  readonly adapters: number;
  /** With gradient checkpointing: inputs of attention and MLP of each layer in bf16, one layer's activations, logits. */
  readonly activations: number;
  readonly total: number;
}

export const layerBytes = ({ shape, form }: Run): number => numbersOfLayer(shape) * FORM_BYTES[form];

export function adapterNumbers({ shape, rank }: Run): number {
  const [q, k, v, o] = matricesOf(shape);
  return [q!, k!, v!, o!].reduce((sum, [out, inputs]) => sum + rank * (out + inputs), 0) * shape.layers;
}

export function memoryOf(run: Run): Memory {
  const { shape, gpus, tokens } = run;
  const layer = layerBytes(run);
  const shards = (shape.layers * layer) / gpus;
  const buffers = gpus === 1 ? 0 : BUFFERS * layer;
  const ends = 2 * numbersOfEnds(shape);
  const adapters = (4 * 4 + 2) * adapterNumbers(run);
  const kept = 2 * 2 * shape.layers * tokens * shape.hidden;
  // q, k, v, mixed, gate, up, their product and the gradients of the last three, in bf16.
  const width = (2 * shape.heads + 2 * shape.kvHeads) * shape.headDim + 6 * shape.intermediate + 6 * shape.hidden;
  const activations = kept + 2 * tokens * width + 4 * LOGIT_ROWS * shape.vocabulary;
  return { shards, buffers, ends, adapters, activations, total: shards + buffers + ends + adapters + activations };
}

/** Seconds in which every GPU gets a whole of `bytes` of which each has a part. */
export function gatherSeconds(bytes: number, gpus: number, machine: Machine): number {
  const { gpusOfHost, withinHost, betweenHosts } = machine;
  if (gpus <= gpusOfHost) return (bytes * (gpus - 1)) / gpus / withinHost;
  const hosts = gpus / gpusOfHost;
  // Bytes of other hosts come in once for a host, and are passed on within it meanwhile; the slower of the two is what it takes.
  return Math.max((bytes * (hosts - 1)) / hosts / betweenHosts, (bytes * (gpus - 1)) / gpus / withinHost);
}

/** Seconds of one layer's products: forward, and backward with the forward made again. */
export function layerSeconds({ shape, tokens }: Run, { flops }: Machine): { forward: number; backward: number } {
  const product = (2 * numbersOfLayer(shape) * tokens) / flops;
  return { forward: product, backward: 2 * product };
}

export const headSeconds = ({ shape, labelled }: Run, { flops }: Machine): number =>
  (4 * labelled * shape.vocabulary * shape.hidden) / flops;

/** A sum of gradients over ranks moves twice what a gather does. */
export const sumSeconds = (run: Run, machine: Machine): number =>
  run.gpus === 1 ? 0 : 2 * gatherSeconds(4 * adapterNumbers(run), run.gpus, machine);

export interface Time {
  readonly compute: number;
  /** Of all gathers, most of them beside the computation. */
  readonly gather: number;
  readonly step: number;
  readonly tokensPerSecond: number;
}

/**
 * Each layer takes the longer of its products and of the next one's gather. Of the gathers, the first two are begun with the step, which the recorded step
 * has in it; the last two layers are still there when the backward begins, so that it gathers two fewer.
 */
export function timeOf(run: Run, machine: Machine): Time {
  const { shape, gpus, tokens } = run;
  const { forward, backward } = layerSeconds(run, machine);
  const head = headSeconds(run, machine);
  const sum = sumSeconds(run, machine);
  const compute = shape.layers * (forward + backward) + head;
  const gather = gpus === 1 ? 0 : gatherSeconds(layerBytes(run), gpus, machine);
  // Layers beside whose products one is gathered: all but the last on the way there, all but the last two on the way back.
  const step =
    gather +
    (shape.layers - 1) * Math.max(forward, gather) +
    forward +
    head +
    (shape.layers - 2) * Math.max(backward, gather) +
    2 * backward +
    sum;
  return {
    compute,
    gather: (2 * shape.layers - 2) * gather,
    step,
    tokensPerSecond: (gpus * tokens) / step,
  };
}
