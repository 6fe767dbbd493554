/**
 * @file An op with several outputs, or one that keeps what it made on its way, on tfjs's tape. `tf.customGrad` knows one output only and keeps
 * only what goes in or comes out.
 *
 * Memory ends early here. tfjs keeps the gradient of every intermediate tensor until the whole backward pass is through, in a model of 32 layers a
 * third of all that is held; between two such ops a gradient has one reader and ends with it. And what is cheaper to compute again than to keep is
 * computed again (`recomputed`).
 */
import * as tf from '@tensorflow/tfjs';
import { readyGradients } from './backward.js';
import { tellOfGradients } from './gradient-listener.js';
import { type Living, outliving } from './outliving.js';
import { isRecording, noGradient } from './tape.js';
import { addTapeNode, isInnerGradient } from './tfjs-internals.js';
import { sharing } from './tfjs-kernels.js';

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
  /** What `gradient` reads beside, which mostly lives as long as the model, such as frozen weights; saved where it does not. */
  readonly reads?: readonly (tf.Tensor | null)[];
  /** Not recorded itself. */
  run(): OpResult<O>;
  /**
   * @param dys one for each output.
   * @param saved `saves`, then `kept`.
   * @param living gives for each of `reads` a tensor of its values that lives.
   * @returns a gradient for each input by name: new tensors, none of them twice.
   */
  gradient(dys: readonly tf.Tensor[], saved: readonly tf.Tensor[], living: Living): Readonly<Record<string, tf.Tensor>>;
}

/** Marks gradients that an op here has given to another tensor of the tape, which alone refers to them. On the tensor: a set of them costs more to collect. */
const PASSED_ON = Symbol('passed on');
type Passed = tf.Tensor & { [PASSED_ON]?: true };

interface Recipe {
  readonly from: readonly tf.Tensor[];
  make(from: readonly tf.Tensor[]): tf.Tensor;
}

const recipes = new WeakMap<tf.Tensor, Recipe>();

/**
 * Ops that would save `tensor` save `from` instead, and make it again when they need it.
 * @param make uses no other tensor that may end before the gradient has been taken.
 * @returns `tensor`.
 */
export function recomputed<T extends tf.Tensor>(tensor: T, from: Recipe['from'], make: Recipe['make']): T {
  recipes.set(tensor, { from, make });
  return tensor;
}

/** Lets `output` = f(input, others) be recomputed if `input` is. @returns `output`. */
export function recomputedAs<T extends tf.Tensor>(
  output: T,
  input: tf.Tensor,
  others: readonly tf.Tensor[],
  f: (input: tf.Tensor, others: readonly tf.Tensor[]) => tf.Tensor,
): T {
  const recipe = recipes.get(input);
  if (!recipe) return output;
  const count = recipe.from.length;
  return recomputed(output, [...recipe.from, ...others], (from) => {
    const remade = recipe.make(from.slice(0, count));
    const again = f(remade, from.slice(count));
    remade.dispose();
    return again;
  });
}

/** Runs the op and records it where a gradient is being taken. @returns its outputs, owned by the caller. */
export function recordOp<O extends readonly tf.Tensor[]>(op: OpDefinition<O>): O {
  const { outputs, kept } = noGradient(() => op.run());
  if (!isRecording()) {
    for (const tensor of kept) tensor.dispose();
    return outputs;
  }
  const reads = outliving(op.reads ?? []);
  const needed = [...op.saves, ...reads.saves];
  const recipesOf = needed.map((tensor) => recipes.get(tensor));
  const saved: tf.Tensor[] = [];
  noGradient(() => {
    needed.forEach((tensor, n) => {
      for (const source of recipesOf[n]?.from ?? [tensor]) saved.push(tf.keep(sharing(source)));
    });
  });
  for (const tensor of kept) saved.push(tf.keep(tensor));

  const gradient = (dyOrDys: tf.Tensor | tf.Tensor[], saved: tf.Tensor[]) => {
    const dys = Array.isArray(dyOrDys) ? dyOrDys : [dyOrDys];
    const remade: tf.Tensor[] = [];
    let next = 0;
    const whole: tf.Tensor[] = [];
    for (const recipe of recipesOf) {
      if (!recipe) {
        whole.push(saved[next++]!);
        continue;
      }
      const from = saved.slice(next, next + recipe.from.length);
      next += from.length;
      const made = noGradient(() => recipe.make(from));
      remade.push(made);
      whole.push(made);
    }
    const read = whole.splice(op.saves.length);
    for (; next < saved.length; next++) whole.push(saved[next]!);
    const gradients = op.gradient(dys, whole, reads.from(read));
    for (const tensor of remade) tensor.dispose();
    // In a gradient of a gradient the same node is asked again.
    if (!isInnerGradient()) {
      for (const dy of dys as Passed[]) if (dy[PASSED_ON]) dy.dispose();
      for (const tensor of saved) tensor.dispose();
      for (const name in gradients) (gradients[name] as Passed)[PASSED_ON] = true;
    }
    tellOfGradients(op.inputs, gradients);
    return readyGradients(gradients);
  };
  addTapeNode(op.name, op.inputs, outputs, gradient, saved, {});
  return outputs;
}
