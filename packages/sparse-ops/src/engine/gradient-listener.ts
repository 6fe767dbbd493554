/**
 * @file Gradients of variables as soon as they are known, while the backward pass goes on: for who has something to do with them beside it, such as
 * sending them to other processes.
 */
import * as tf from '@tensorflow/tfjs';
import { isInnerGradient, isOnOwnTape, tapeUses } from './tfjs-internals.js';

/** @param gradient belongs to the backward pass. */
export type GradientListener = (variable: tf.Variable, gradient: tf.Tensor) => void;

let listening: { readonly listener: GradientListener; uses: ReadonlyMap<number, number> | null } | null = null;

/**
 * Takes gradients by `f`, in which `listener` is told of those of variables that one op of the tape has as its input, and that is an op of this
 * package: their gradients are final when the op's are known. Others come with the end of `f` alone.
 */
export function withGradientListener<T>(listener: GradientListener, f: () => T): T {
  const outer = listening;
  listening = { listener, uses: null };
  try {
    return f();
  } finally {
    listening = outer;
  }
}

/** Says which gradients an op's inputs have got. */
export function tellOfGradients(
  inputs: Readonly<Record<string, tf.Tensor>>,
  gradients: Readonly<Record<string, tf.Tensor>>,
): void {
  // A gradient within a gradient is a part of one.
  if (listening === null || isInnerGradient() || isOnOwnTape()) return;
  for (const [name, gradient] of Object.entries(gradients)) {
    const input = inputs[name];
    if (!(input instanceof tf.Variable)) continue;
    // The tape is whole now, and goes with the backward pass.
    listening.uses ??= tapeUses();
    if (listening.uses.get(input.id) === 1) listening.listener(input, gradient);
  }
}
