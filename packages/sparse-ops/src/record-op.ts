/**
 * @file An op with several outputs, or one that keeps what it made on its way, on tfjs's tape. `tf.customGrad` knows one output only and keeps
 * only what goes in or comes out.
 *
 * Memory ends early here. tfjs keeps the gradient of every intermediate tensor until the whole backward pass is through, in a model of 32 layers a
 * third of all that is held; between two such ops a gradient has one reader and ends with it. And what is cheaper to compute again than to keep is
 * remade (`remakeable`).
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
   * @returns a gradient for each input by name: new tensors, none of them twice.
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
  readonly state: { readonly gradientDepth: number };
}

const engine = () => tf.engine() as unknown as Tape;

/** Gradients that an op here has given to another tensor of the tape, which alone refers to them. */
const passedOn = new WeakSet<tf.Tensor>();

interface Recipe {
  readonly from: tf.Tensor;
  make(from: tf.Tensor): tf.Tensor;
}

const recipes = new WeakMap<tf.Tensor, Recipe>();

/** Ops that would save `tensor` save `from` instead, and make it again when they need it. @returns `tensor`. */
export function remakeable<T extends tf.Tensor>(tensor: T, from: tf.Tensor, make: (from: tf.Tensor) => tf.Tensor): T {
  recipes.set(tensor, { from, make });
  return tensor;
}

/** Runs the op and records it where a gradient is being taken. @returns its outputs, owned by the caller. */
export function recordOp<O extends readonly tf.Tensor[]>(op: OpDefinition<O>): O {
  const { outputs, kept } = noGradient(() => op.run());
  if (!isRecording()) {
    tf.dispose([...kept]);
    return outputs;
  }
  const remade = op.saves.map((tensor) => recipes.get(tensor));
  const clones = noGradient(() => op.saves.map((tensor, n) => tf.clone(remade[n]?.from ?? tensor)));
  const saved = [...clones, ...kept].map((tensor) => tf.keep(tensor));

  const gradient = (dyOrDys: tf.Tensor | tf.Tensor[], saved: tf.Tensor[]) => {
    const dys = Array.isArray(dyOrDys) ? dyOrDys : [dyOrDys];
    const made: tf.Tensor[] = [];
    const whole = saved.map((tensor, n) => {
      const recipe = remade[n];
      if (!recipe) return tensor;
      made.push(noGradient(() => recipe.make(tensor)));
      return made.at(-1)!;
    });
    const gradients = op.gradient(dys, whole);
    tf.dispose(made);
    // In a gradient of a gradient the same node is asked again.
    if (engine().state.gradientDepth === 0) {
      tf.dispose([...dys.filter((dy) => passedOn.has(dy)), ...saved]);
      for (const g of Object.values(gradients)) passedOn.add(g);
    }
    return Object.fromEntries(Object.entries(gradients).map(([name, g]) => [name, () => g]));
  };
  engine().addTapeNode(op.name, op.inputs, outputs, gradient, saved, {});
  return outputs;
}
