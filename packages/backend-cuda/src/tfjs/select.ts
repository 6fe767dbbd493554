/** @file One tensor's elements or another's, as a condition says. (Where a condition holds tfjs finds out on the host.) */
import * as tf from '@tensorflow/tfjs';
import { blocksFor, packsOf, resultPhysical, THREADS } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { declareVariants } from '../shared/variants.js';
import { C_TYPE } from '../storage.js';
import { cast } from './constant.js';

registerCudaKernel<'condition' | 't' | 'e'>(tf.Select, ({ backend, inputs: { condition, t, e } }) => {
  const dtype = tf.upcastType(t.dtype, e.dtype);
  const [a, b] = [cast(backend, t, dtype), cast(backend, e, dtype)];
  const [typeA, typeB, to] = [backend.physical(a), backend.physical(b), resultPhysical(backend, dtype, a, b)];
  const result = backend.output(t.shape, dtype, to);
  const size = tf.util.sizeFromShape(t.shape);
  // A vector chooses among rows.
  const inner = condition.shape.length === 1 && t.shape.length > 1 ? tf.util.sizeFromShape(t.shape.slice(1)) : 1;
  const [from, other, target] = [backend.address(a), backend.address(b), backend.address(result)];
  const which = backend.address(condition);
  const packs = inner === 1 ? packsOf(size, [which, 'u8'], [from, typeA], [other, typeB], [target, to]) : 0;
  const defines = { LEFT: C_TYPE[typeA], RIGHT: C_TYPE[typeB], TO: C_TYPE[to] };
  const kernel = backend.kernel('select', 'select_elements', 'pppplll', defines);
  const blocks = blocksFor(Math.max(packs, size - 8 * packs));
  backend.launch(kernel, [blocks], [THREADS], [which, from, other, target, size, inner, packs]);
  backend.release(a);
  backend.release(b);
  return result;
});

declareVariants('select', [
  { LEFT: 'float', RIGHT: 'float', TO: 'float' },
  { LEFT: 'bf16', RIGHT: 'bf16', TO: 'bf16' },
  { LEFT: 'bf16', RIGHT: 'float', TO: 'float' },
  { LEFT: 'float', RIGHT: 'bf16', TO: 'float' },
  { LEFT: 'int', RIGHT: 'int', TO: 'int' },
  { LEFT: 'u8', RIGHT: 'u8', TO: 'u8' },
]);
