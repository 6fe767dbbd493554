/** @file The ways in which the wasm backend multiplies, between which a benchmark goes back and forth in one process. */
import { askForSimd, registerSimdKernels, runsSimd, unregisterSimdKernels } from '@spft/sparse-ops/internals';

export interface Setting {
  readonly name: string;
  /** null: tfjs's own products, and our other kernels on one thread, as it was before ours. */
  readonly kind: 'plain' | 'relaxed' | null;
  readonly threads: number;
}

/** Those that this engine can run; the first is what the others are compared with. */
export function settingsFor(threads: number): Setting[] {
  const kinds = (['plain', 'relaxed'] as const).filter(runsSimd);
  const counts = threads > 1 ? [1, threads] : [1];
  return [
    { name: "tfjs's products", kind: null, threads: 1 },
    ...kinds.flatMap((kind) =>
      counts.map((threads) => ({
        name: `${kind === 'plain' ? 'SIMD' : 'relaxed SIMD'}, ${threads === 1 ? 'one thread' : `${threads} threads`}`,
        ...{ kind, threads },
      })),
    ),
  ];
}

let active: Setting | null = null;

/** Makes the active backend, which is `wasm`, work so. Threads that were made are ended; the next job starts them anew. */
export function use(setting: Setting): void {
  if (setting === active) return;
  active = setting;
  unregisterSimdKernels();
  askForSimd({ kind: setting.kind ?? (runsSimd('relaxed') ? 'relaxed' : 'plain'), threads: setting.threads });
  registerSimdKernels({ products: setting.kind !== null });
}
