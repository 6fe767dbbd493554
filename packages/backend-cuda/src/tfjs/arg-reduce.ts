/** @file ArgMax and ArgMin (`cuda/arg-reduce.cu`). */
import * as tf from '@tensorflow/tfjs';
import { blocksFor, THREADS } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { combinations, declareVariants } from '../shared/variants.js';
import { C_TYPE, PLAIN_C_TYPES } from '../storage.js';
import { reducible } from './axes.js';

/** Numbers of a row from which on it is long, and that a block then has at a time. */
const LONG = 8192;
const STRETCH = 2048;

for (const [name, least] of [
  [tf.ArgMax, false],
  [tf.ArgMin, true],
] as const) {
  registerCudaKernel<'x', { axis: number }>(name, ({ backend, inputs, attributes }) => {
    const { x, outer, n, inner, shape } = reducible(backend, inputs.x, attributes.axis);
    const result = backend.output(shape, 'int32');
    const defines = { FROM: C_TYPE[backend.physical(x)], ...(least ? { LEAST: 1 } : {}) };
    const [from, to] = [backend.address(x), backend.address(result)];
    if (n === 0) backend.clear(result);
    else if (inner === 1 && n >= LONG && outer <= backend.device.info.multiprocessors) {
      // Few long rows, as logits are: several blocks a row.
      const stretches = Math.min(256, Math.ceil(n / STRETCH));
      backend.scratch(16 * outer * stretches, (places) => {
        const values = places + 8 * outer * stretches;
        const some = backend.kernel('arg-reduce', 'arg_stretches', 'pppll', defines);
        const stretch = Math.ceil(n / stretches);
        backend.launch(some, [stretches, outer], [256], [from, values, places, n, stretch]);
        const all = backend.kernel('arg-reduce', 'arg_joins', 'pppi', defines);
        backend.launch(all, [outer], [256], [values, places, to, stretches]);
      });
    } else if (inner === 1) {
      const threads = Math.min(256, Math.max(32, 2 ** Math.ceil(Math.log2(n / 4))));
      const kernel = backend.kernel('arg-reduce', 'arg_rows', 'ppll', defines);
      backend.launch(kernel, [Math.min(outer, 2 ** 20)], [threads], [from, to, outer, n]);
    } else {
      const kernel = backend.kernel('arg-reduce', 'arg_columns', 'pplll', defines);
      backend.launch(kernel, [blocksFor(outer * inner)], [THREADS], [from, to, outer, n, inner]);
    }
    backend.release(x);
    return result;
  });
}

const FROM = PLAIN_C_TYPES;
declareVariants('arg-reduce', [...combinations({ FROM }), ...combinations({ FROM, LEAST: [1] })]);
