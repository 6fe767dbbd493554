/**
 * @file Loss and gradients by variables: `tf.variableGrads`, whose numbers it gives, in less of the host's time. tfjs opens a scope for each gradient of each
 * op, of which a step of a model with adapters has a thousand, and looks for each op of the tape through all variables.
 */
import * as tf from '@tensorflow/tfjs';
import { forgetTape, isInnerGradient, recordedOnTape, type TapeNode } from './tfjs-internals.js';

export interface ValueAndGradients {
  readonly value: tf.Scalar;
  /** One for each variable; null where the value does not depend on it. */
  readonly gradients: readonly (tf.Tensor | null)[];
}

/** Records of gradients that are there already, and were made by an op that leaves nothing else behind. */
const ready = new WeakSet<object>();

/** Says of what an op's gradient gives for its inputs that it is made, so that no scope is opened to ask for it. @returns it. */
export function readyGradients(gradients: Readonly<Record<string, tf.Tensor>>): Record<string, () => tf.Tensor> {
  const thunks: Record<string, () => tf.Tensor> = {};
  for (const name in gradients) {
    const gradient = gradients[name]!;
    thunks[name] = () => gradient;
  }
  ready.add(thunks);
  return thunks;
}

/**
 * Call it within a `tf.tidy`, with which ends what is made on the way.
 * @param variables trainable ones; at least one.
 * @returns tensors of that `tf.tidy`.
 * @throws Error where the value depends on none of the variables, or is no scalar.
 */
export function valueAndGradients(f: () => tf.Scalar, variables: readonly tf.Variable[]): ValueAndGradients {
  if (isInnerGradient()) {
    const { value, grads } = tf.variableGrads(f, [...variables]);
    return { value, gradients: variables.map(({ name }) => grads[name] ?? null) };
  }
  const { y: value, tape } = recordedOnTape(f);
  if (value.rank !== 0) throw new Error(`the loss must be a scalar, found one of shape [${value.shape}]`);
  const known = new Map<number, tf.Tensor>([[value.id, tf.scalar(1)]]);
  const depending = new Set(variables.map(({ id }) => id));
  const nodes = tape.filter((node) => dependsOn(node, depending));
  for (let n = nodes.length - 1; n >= 0; n--) goBack(nodes[n]!, depending, known);
  const gradients = variables.map(({ id }) => known.get(id) ?? null);
  if (gradients.every((gradient) => gradient === null)) {
    throw new Error('the loss depends on none of the variables: is it computed of them, within the function given?');
  }
  forgetTape();
  return { value, gradients };
}

/** Whether an input of the node depends on a variable; its outputs do so then too. */
function dependsOn({ inputs, outputs }: TapeNode, depending: Set<number>): boolean {
  for (const name in inputs) {
    if (!depending.has(inputs[name]!.id)) continue;
    for (const { id } of outputs) depending.add(id);
    return true;
  }
  return false;
}

/** Takes the gradients of a node's outputs to its inputs, where there are any. */
function goBack(node: TapeNode, depending: ReadonlySet<number>, known: Map<number, tf.Tensor>): void {
  const { inputs, outputs, kernelName } = node;
  const dys = outputs.map(({ id }) => known.get(id) ?? null);
  if (dys.every((dy) => dy === null)) return;
  if (!node.gradient) throw new Error(`the op ${kernelName} has no gradient`);
  const gradients = node.gradient(dys);
  const isReady = ready.has(gradients);
  for (const name in inputs) {
    const input = inputs[name]!;
    if (!depending.has(input.id)) continue;
    const make = gradients[name];
    if (!make) throw new Error(`the op ${kernelName} has no gradient of its input '${name}'`);
    const dx = isReady ? make() : tf.tidy(make);
    if (dx.dtype !== 'float32' || !tf.util.arraysEqual(dx.shape, input.shape)) {
      throw new Error(
        `the op ${kernelName} gives a ${dx.dtype} gradient [${dx.shape}] of its input '${name}', which is [${input.shape}]`,
      );
    }
    const before = known.get(input.id);
    if (!before) {
      known.set(input.id, dx);
      continue;
    }
    known.set(input.id, tf.add(before, dx));
    before.dispose();
  }
}
