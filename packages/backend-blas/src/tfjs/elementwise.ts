/**
 * @file tfjs's arithmetic on float32 where shapes are what training makes of them: two tensors of one shape, a tensor and a number, a matrix and
 * a row or a column. What else there is goes to the cpu backend's kernels, which take 5 ns an element.
 */
import * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '../backend.js';
import { type Call, withCall } from '../shared/call.js';
import type { KernelName } from '../threads/kernels.js';

type Infos = Record<string, tf.TensorInfo>;

/** Adds its work to the call and gives the result, or null when it has no way to do it. */
type Fast = (call: Call, inputs: Infos) => tf.TensorInfo | null;

/** Elements below which a kernel of JavaScript is done before ours has begun. */
const SMALL = 256;

/** A kernel of tfjs that does `fast` where it can, and what the cpu backend does elsewhere. */
const preferring =
  (fast: Fast) =>
  (otherwise: tf.KernelFunc): tf.KernelFunc =>
  (given) => {
    const inputs = given.inputs as Infos;
    let largest = 0;
    for (const name in inputs) {
      const info = inputs[name]!;
      if (info.dtype !== 'float32') return otherwise(given);
      largest = Math.max(largest, sizeOf(info.shape));
    }
    if (largest < SMALL) return otherwise(given);
    return withCall(given.backend, (call) => fast(call, inputs)) ?? otherwise(given);
  };

/** Whether y broadcasts along the last dimensions of x alone: [.., n] or [n], or ones before that. */
function isRowOf(y: readonly number[], x: readonly number[]): number | null {
  const core = y.slice(y.findIndex((n) => n !== 1));
  if (y.length > x.length || core.length === 0) return null;
  const tail = x.slice(x.length - core.length);
  return core.every((n, axis) => n === tail[axis]) ? sizeOf(core) : null;
}

/** Whether y is x but for ones at the end: [.., 1]. @returns how many numbers of x one of y stands for. */
function isColumnOf(y: readonly number[], x: readonly number[]): number | null {
  if (y.length !== x.length) return null;
  let axis = 0;
  while (axis < x.length && y[axis] === x[axis]) axis++;
  return y.slice(axis).every((n) => n === 1) ? sizeOf(x.slice(axis)) : null;
}

interface Binary {
  readonly same: KernelName;
  /** Arguments of `affine` for x op y and for y op x with a number y; null where it takes a division. */
  readonly withNumber: (y: number, swapped: boolean) => readonly [factor: number, summand: number] | null;
  readonly row?: readonly [name: KernelName, ...rest: number[]];
  readonly column?: KernelName;
  /** Whether the operands may be swapped. */
  readonly symmetric: boolean;
}

function binary({ same, withNumber, row, column, symmetric }: Binary): Fast {
  return (call, { a, b }) => {
    const [sizeA, sizeB] = [sizeOf(a!.shape), sizeOf(b!.shape)];
    const swapped = sizeB > sizeA;
    const [x, y] = swapped ? [b!, a!] : [a!, b!];
    const size = Math.max(sizeA, sizeB);
    const { shape } = x;
    const output = () => call.output(shape);
    if (tf.util.arraysEqual(a!.shape, b!.shape)) {
      const z = output();
      call.share(same, size, 2, call.at(a!), call.at(b!), call.at(z));
      return z;
    }
    if (y.shape.length > shape.length) return null;
    if (sizeOf(y.shape) === 1) {
      const number = call.values(y)[0]!;
      const affine = withNumber(number, swapped);
      if (affine === null && swapped) return null;
      const z = output();
      if (affine) call.share('affine', size, 1, call.at(x), ...affine, call.at(z));
      else call.share('divideBy', size, 1, call.at(x), number, call.at(z));
      return z;
    }
    if (swapped && !symmetric) return null;
    const n = row ? isRowOf(y.shape, shape) : null;
    if (row && n !== null) {
      const z = output();
      call.share(row[0], size / n, n, call.at(x), call.at(y), call.at(z), n, ...(row.slice(1) as number[]));
      return z;
    }
    const each = column ? isColumnOf(y.shape, shape) : null;
    if (column && each !== null) {
      const z = output();
      call.share(column, size / each, each, call.at(x), call.at(y), call.at(z), each);
      return z;
    }
    return null;
  };
}

const unary =
  (name: KernelName, numbersEach: number): Fast =>
  (call, { x }) => {
    const y = call.output(x!.shape);
    call.share(name, sizeOf(x!.shape), numbersEach, call.at(x!), call.at(y));
    return y;
  };

const affineOf =
  (factor: number): Fast =>
  (call, { x }) => {
    const y = call.output(x!.shape);
    call.share('affine', sizeOf(x!.shape), 1, call.at(x!), factor, 0, call.at(y));
    return y;
  };

export const add = preferring(binary({ same: 'add', withNumber: (y) => [1, y], row: ['addRow', 1], symmetric: true }));
export const subtract = preferring(
  binary({
    same: 'sub',
    withNumber: (y, swapped) => (swapped ? [-1, y] : [1, -y]),
    row: ['addRow', -1],
    symmetric: false,
  }),
);
export const multiply = preferring(
  binary({ same: 'mul', withNumber: (y) => [y, 0], row: ['mulRow'], column: 'mulColumn', symmetric: true }),
);
export const divide = preferring(binary({ same: 'div', withNumber: () => null, symmetric: false }));
export const negate = preferring(affineOf(-1));
export const square = preferring((call, { x }) => {
  const y = call.output(x!.shape);
  call.share('mul', sizeOf(x!.shape), 2, call.at(x!), call.at(x!), call.at(y));
  return y;
});
export const relu = preferring(unary('relu', 1));
export const sigmoid = preferring(unary('sigmoid', 4));
/** tfjs hands it the last dimension only. */
export const softmax = preferring((call, { logits }) => {
  const n = logits!.shape.at(-1)!;
  const y = call.output(logits!.shape);
  if (n > 0) call.share('softmax', sizeOf(logits!.shape) / n, 4 * n, call.at(logits!), call.at(y), n);
  return y;
});

/** The sum of several tensors of one shape. */
export const addN = preferring((call, inputs) => {
  const infos = Object.values(inputs);
  const size = sizeOf(infos[0]!.shape);
  const y = call.output(infos[0]!.shape);
  if (infos.length === 1) call.values(y).set(call.values(infos[0]!));
  else call.share('add', size, 2, call.at(infos[0]!), call.at(infos[1]!), call.at(y));
  for (const info of infos.slice(2)) call.share('add', size, 2, call.at(y), call.at(info), call.at(y));
  return y;
});
