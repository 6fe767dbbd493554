/** @file Cumsum and Cumprod (`cuda/scan.cu`), along any axis by way of the last. Those of bf16 are float. */
import * as tf from '@tensorflow/tfjs';
import { registerCudaKernel } from '../shared/register.js';
import { declareVariants } from '../shared/variants.js';
import { C_TYPE, physicalOf } from '../storage.js';
import { transpose } from './movement.js';

interface Attributes {
  readonly axis: number;
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

for (const [name, OP] of [
  [tf.Cumsum, 'Sum'],
  [tf.Cumprod, 'Prod'],
] as const) {
  registerCudaKernel<'x', Attributes>(name, ({ backend, inputs: { x }, attributes }) => {
    const { axis, exclusive, reverse } = attributes;
    const permutation = tf.backend_util.getAxesPermutation([axis], x.shape.length);
    const source = permutation ? transpose(backend, x, permutation) : backend.share(x);
    const dtype = tf.upcastType(x.dtype, 'int32');
    const scanned = backend.output(source.shape, dtype);
    const n = source.shape.at(-1) ?? 1;
    const rows = n === 0 ? 0 : tf.util.sizeFromShape(source.shape) / n;
    const defines = { OP, FROM: C_TYPE[backend.physical(source)], TO: C_TYPE[physicalOf(dtype)] };
    const kernel = backend.kernel('scan', 'scan_rows', 'ppllii', defines);
    const places = [backend.address(source), backend.address(scanned)];
    const flags = [exclusive ? 1 : 0, reverse ? 1 : 0];
    backend.launch(kernel, [Math.min(rows, 2 ** 20)], [256], [...places, rows, n, ...flags]);
    backend.release(source);
    if (!permutation) return scanned;
    const result = transpose(backend, scanned, tf.backend_util.getUndoAxesPermutation(permutation));
    backend.release(scanned);
    return result;
  });
}

declareVariants(
  'scan',
  ['Sum', 'Prod'].flatMap((OP) => [
    { OP, FROM: 'float', TO: 'float' },
    { OP, FROM: 'bf16', TO: 'float' },
    { OP, FROM: 'int', TO: 'int' },
    { OP, FROM: 'u8', TO: 'int' },
  ]),
);
