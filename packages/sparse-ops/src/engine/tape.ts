/** @file Whether operations are being recorded for a gradient, and how to keep some from it. */
import * as tf from '@tensorflow/tfjs';
import { forgetTape, isOffTape, offTape } from './tfjs-internals.js';

/** Whether an op called now would be recorded for a gradient. */
export function isRecording(): boolean {
  return tf.engine().isTapeOn();
}

/** Runs `f` without recording: what it returns counts as constant in every gradient. Gradients taken inside `f` would find nothing. */
export const noGradient: <T>(f: () => T) => T = offTape;

/**
 * Whether a tensor made and kept here would be taken for a leak of the op that runs: tfjs counts so with its flag IS_TEST, as under gradient
 * checkpointing.
 */
export function takesKeptForLeak(): boolean {
  return isOffTape() && tf.env().getBool('IS_TEST');
}

const constants = new WeakSet<tf.Tensor>();

/** Says that a tensor needs no gradient, so that ops spare the work for it: what `noGradient` gave. @returns it. */
export function constant<T extends tf.Tensor>(tensor: T): T {
  constants.add(tensor);
  return tensor;
}

/** Whether `constant` was said of it. */
export const isConstant = (tensor: tf.Tensor): boolean => constants.has(tensor);

/** Runs `take`; where it throws (no memory left, say), what tfjs's tape has kept for the backward is given back, which tfjs does not do. */
export function orForgetTape<T>(take: () => T): T {
  try {
    return take();
  } catch (error) {
    forgetTape();
    throw error;
  }
}
