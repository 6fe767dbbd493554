/** @file SwiGLU over places in device memory, for matrices whose rows may lie apart. */
import type { CudaBackend } from '../../backend.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { BYTES, C_TYPE } from '../../storage.js';

/** A matrix in device memory: its address, and the elements from row to row. */
export interface Place {
  readonly address: number;
  readonly stride: number;
}

interface Extent {
  readonly rows: number;
  readonly columns: number;
  readonly type: 'bf16' | 'f32';
}

const THREADS = 256;

/** Grid, and whether threads may take eight columns at once. */
function plan({ rows, columns, type }: Extent, places: readonly Place[]) {
  const fits = ({ address, stride }: Place) => address % 16 === 0 && (stride * BYTES[type]) % 16 === 0;
  const wide = columns % 8 === 0 && places.every(fits);
  const items = (rows * columns) / (wide ? 8 : 1);
  return { defines: { X: C_TYPE[type], WIDE: wide ? 1 : 0 }, blocks: Math.min(16384, Math.ceil(items / THREADS)) };
}

/** out = silu(gate) ⊙ up. Gate and up have the same stride. */
export function gatedActivation(backend: CudaBackend, gate: Place, up: Place, out: Place, extent: Extent): void {
  const { defines, blocks } = plan(extent, [gate, up, out]);
  const kernel = backend.kernel('gated-activation', 'gated_activation', 'pppiiii', defines);
  const { rows, columns } = extent;
  const args = [gate.address, up.address, out.address, rows, columns, gate.stride, out.stride];
  backend.launch(kernel, [blocks], [THREADS], args);
}

/** Gradients of gate and up for dy. dgate and dup have the same stride; one of them may be dy itself. */
export function gatedActivationGrad(
  backend: CudaBackend,
  { gate, up, dy }: { readonly gate: Place; readonly up: Place; readonly dy: Place },
  { dgate, dup }: { readonly dgate: Place; readonly dup: Place },
  extent: Extent,
): void {
  const { defines, blocks } = plan(extent, [gate, up, dy, dgate, dup]);
  const kernel = backend.kernel('gated-activation', 'gated_activation_grad', 'pppppiiiii', defines);
  const { rows, columns } = extent;
  const addresses = [gate, up, dy, dgate, dup].map(({ address }) => address);
  backend.launch(kernel, [blocks], [THREADS], [...addresses, rows, columns, gate.stride, dy.stride, dgate.stride]);
}

declareVariants('gated-activation', combinations({ X: FLOATS, WIDE: [0, 1] }));
