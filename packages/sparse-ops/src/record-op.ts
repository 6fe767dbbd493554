/**
 * @file An op with several outputs, or one that keeps what it made on its way, on tfjs's tape. `tf.customGrad` knows one output only and keeps
 * only what goes in or comes out.
 */
import * as tf from '@tensorflow/tfjs';
import { isRecording, noGradient } from './tape.js';

export interface OpResult<O extends readonly tf.Tensor[]> {
  /** Owned by the caller of the op. */
  readonly outputs: O;
  /** What `gradient` needs beside the inputs; taken over, and given back with the tape. */
  readonly kept: readonly tf.Tensor[];
}

export interface OpDefinition<O extends readonly tf.Tensor[]> {
  readonly name: string;
  /** Tensors that may get a gradient. */
  readonly inputs: Readonly<Record<string, tf.Tensor>>;
  /** Inputs and other tensors of the caller that `gradient` needs. */
  readonly saves: readonly tf.Tensor[];
  /** Not recorded itself. */
  run(): OpResult<O>;
  /**
   * @param dys one for each output.
   * @param saved `saves`, then `kept`.
   * @returns a gradient for each input by name.
   */
  gradient(dys: readonly tf.Tensor[], saved: readonly tf.Tensor[]): Readonly<Record<string, tf.Tensor>>;
}

/** What is used of tfjs's engine beyond its typings. */
interface Tape {
  addTapeNode(
    name: string,
    inputs: Readonly<Record<string, tf.Tensor>>,
    outputs: readonly tf.Tensor[],
    gradient: (dys: tf.Tensor | tf.Tensor[], saved: tf.Tensor[]) => Record<string, () => tf.Tensor>,
    saved: readonly tf.Tensor[],
    attributes: object,
  ): void;
}

/** Runs the op and records it where a gradient is being taken. @returns its outputs, owned by the caller. */
export function recordOp<O extends readonly tf.Tensor[]>(op: OpDefinition<O>): O {
  const { outputs, kept } = noGradient(() => op.run());
  if (!isRecording()) {
    tf.dispose([...kept]);
    return outputs;
  }
  const saved = [...noGradient(() => op.saves.map((t) => tf.clone(t))), ...kept].map((t) => tf.keep(t));
  const gradient = (dys: tf.Tensor | tf.Tensor[], saved: tf.Tensor[]) => {
    const gradients = op.gradient(Array.isArray(dys) ? dys : [dys], saved);
    return Object.fromEntries(Object.entries(gradients).map(([name, g]) => [name, () => g]));
  };
  (tf.engine() as unknown as Tape).addTapeNode(op.name, op.inputs, outputs, gradient, saved, {});
  return outputs;
}
