/**
 * @file The head of a language model and its loss: logits of a chunk of rows, which become the gradient where they lie, and the gradient of x.
 */
import type { BlasKernel } from '../../shared/call.js';
import { multiply } from '../../shared/product.js';

export const linearCrossEntropy: BlasKernel<'SpftLinearCrossEntropy'> = (
  call,
  { x, weight, labels },
  { chunkRows, withGradient },
) => {
  const { pool } = call;
  const [R, H] = x!.shape as [number, number];
  const V = weight!.shape[0]!;
  const loss = call.output([]);
  const dx = withGradient ? call.output([R, H]) : null;
  // Chunks of even length: the weight is read once for each, however few its rows.
  const chunk = Math.ceil(R / Math.max(1, Math.ceil(R / chunkRows)));
  const logits = call.scratch(chunk * V);
  const sums = call.scratch(4 * Math.max(1, chunk));
  const [xAt, w, labelsAt, z] = [call.native(x!), call.native(weight!), call.at(labels!), pool.native(logits)];
  let total = 0;
  for (let row = 0; row < R; row += chunk) {
    const rows = Math.min(chunk, R - row);
    const part = [xAt + 4 * row * H, H] as const;
    if (H === 0) call.backend.heap.f32(logits, rows * V).fill(0);
    else multiply(pool, { m: rows, n: V, k: H, a: part, b: [w, H], c: [z, V], transposeB: true });
    call.share('crossEntropy', rows, V, logits, labelsAt + 4 * row, sums, V, withGradient ? 1 : 0);
    const pairs = call.backend.heap.f64(sums, 2 * rows);
    for (let r = 0; r < rows; r++) total += Math.log(pairs[2 * r]!) + pairs[2 * r + 1]!;
    if (dx) multiply(pool, { m: rows, n: H, k: V, a: [z, V], b: [w, H], c: [call.native(dx) + 4 * row * H, H] });
  }
  call.values(loss)[0] = total;
  return dx ? [loss, dx] : [loss];
};
