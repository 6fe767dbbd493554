/**
 * @file Products of few rows with frozen matrices (cuda/gemv.cu), with what goes before and after them in a step of generation: a norm of the rows, a bias, a
 * residual, SwiGLU. In bytes read it is as cheap as the matrices are stored.
 */
import type { KernelWeight } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { fewRowsFormOf, fewRowsForms } from '../../forms/few-rows.js';
import type { Scope } from '../../shared/tensors.js';
import { declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';

type Info = TensorInfo;

/** Rows of x that the kernel takes: from more on cuBLASLt reads the weights as fast, on tensor cores. */
const MOST_ROWS = 4;
/** Threads that share a multiprocessor. */
const THREADS_AT_ONCE = 1024;
/** Rows of W of a block: sums of so many have room in its shared memory. */
const MOST_SUMS = 128;

export interface Norm {
  readonly weight: Info;
  readonly eps: number;
}

export interface FewRowsProduct {
  /** [B, n] in bf16 or float, which is the type of what comes of it. */
  readonly x: Info;
  /** Of the rows of x, before the product; null where they are taken as they are. */
  readonly norm: Norm | null;
  /** Up to three [out, n], which take the same rows. */
  readonly layers: readonly KernelWeight[];
  /** [B, out], added to what the one layer gives; null for nothing. */
  readonly residual: Info | null;
  /** Of two layers, gate and up: silu(gate) ⊙ up is wanted. */
  readonly gated: boolean;
}

/** Whether there are as few as that. */
export const takesFewRows = ({ shape }: Info): boolean => shape[0]! > 0 && shape[0]! <= MOST_ROWS;

interface Plan {
  readonly defines: Readonly<Record<string, string | number>>;
  readonly threads: number;
}

/** How the kernel is compiled for these; null where it does not take them. */
function planFor(backend: CudaBackend, { x, norm, layers, gated }: FewRowsProduct): Plan | null {
  const [batch, columns] = x.shape as [number, number];
  const physicals = new Set(layers.map(({ weight }) => backend.physical(weight)));
  const biases = new Set(layers.flatMap(({ bias }) => (bias ? [backend.physical(bias)] : [])));
  const form = physicals.size === 1 ? fewRowsFormOf([...physicals][0]!) : undefined;
  if (!form || biases.size > 1 || !takesFewRows(x) || columns === 0 || columns % form.unit(batch) !== 0) return null;
  const takes = (weight: Info) => form.takes?.(backend, weight, backend.physical(x)) ?? true;
  if (!layers.every(({ weight }) => takes(weight))) return null;
  const [behind, ...others] = layers.map(({ weight }) => form.behind?.(backend, weight) ?? 0);
  if (others.some((other) => other !== behind)) return null;
  const addresses = [x, ...(norm ? [norm.weight] : []), ...layers.map(({ weight }) => weight)].map((t) =>
    backend.address(t),
  );
  if (addresses.some((address) => address % 16 !== 0)) return null;
  // Registers of a thread hold its part of x, and of several rows of W: as many as fit into 64 (of which ptxas tells).
  const units = columns / form.unit(batch);
  const octets = form.unit(batch) / 8;
  const held = batch === 1 ? 4 : 2;
  const loads = [1, 2, 4].find((n) => n <= held && units / n <= 512) ?? [1, 2, 4].find((n) => units / n <= 1024);
  if (loads === undefined) return null;
  const threads = 32 * Math.ceil(units / loads / 32);
  const exact = units === loads * threads;
  const wanted = (batch === 1 ? 8 : batch === 2 ? 4 : 2) / (loads * octets * (exact || loads === 1 ? 1 : 2));
  const rows = Math.max(1, Math.floor(wanted));
  return {
    threads,
    defines: {
      ...{ X: C_TYPE[backend.physical(x)], FORM: form.form, BATCH: batch, LOADS: loads, ROWS: rows, THREADS: threads },
      ...{ BIAS: C_TYPE[[...biases][0] ?? 'f32'], NORM: norm ? 1 : 0, PAIRED: gated ? 1 : 0 },
      ...{ NORM_W: C_TYPE[norm ? backend.physical(norm.weight) : 'f32'], EXACT: exact ? 1 : 0 },
      ...(behind && { BEHIND: behind }),
    },
  };
}

/** Rows of W of each block, so that all multiprocessors end together. */
function rowsABlock(backend: CudaBackend, rows: number, { threads, defines }: Plan): number {
  const { BATCH, ROWS, PAIRED } = defines as Record<string, number>;
  const slots = backend.device.info.multiprocessors * Math.max(1, Math.floor(THREADS_AT_ONCE / threads));
  const most = Math.floor(MOST_SUMS / BATCH!);
  const rounds = Math.ceil(rows / (slots * most));
  const unit = PAIRED ? Math.max(2, ROWS!) : ROWS!;
  return unit * Math.ceil(rows / (slots * rounds) / unit);
}

/**
 * norm(x)·Wᵀ + b of each layer, [B, out] in x's type, plus the residual; or what is gated of the two. Results of the scope.
 * @returns null where the kernel does not take them, and nothing was done.
 */
export function timesFewRows(backend: CudaBackend, product: FewRowsProduct, scope: Scope): Info[] | null {
  const { x, layers, gated } = product;
  const plan = planFor(backend, product);
  if (!plan) return null;
  const made = (gated ? layers.slice(0, 1) : layers).map(({ weight }) =>
    scope.output([x.shape[0]!, weight.shape[0]!], 'float32', backend.physical(x)),
  );
  launch(backend, product, plan, made);
  return made;
}

function launch(
  backend: CudaBackend,
  { x, norm, layers, residual }: FewRowsProduct,
  plan: Plan,
  made: readonly Info[],
) {
  const rows = layers.reduce((sum, { weight }) => sum + weight.shape[0]!, 0);
  const each = rowsABlock(backend, rows, plan);
  const address = (info: Info | null | undefined) => (info ? backend.address(info) : 0);
  const matrices = [0, 1, 2].flatMap((n) => {
    const layer = layers[n];
    if (!layer) return [0, 0, 0, 0, 0];
    const { weight, bias } = layer;
    const extra = fewRowsFormOf(backend.physical(weight))!.extra(backend, weight);
    return [address(weight), extra, address(bias), address(made[n]), weight.shape[0]!];
  });
  const kernel = backend.kernel('gemv', 'gemv', 'ppfpppppippppippppiii', plan.defines);
  const before = [address(x), address(norm?.weight), norm?.eps ?? 0, address(residual)];
  const shared = 4 * each * (plan.defines.BATCH as number) * (plan.threads / 32);
  const blocks = Math.ceil(rows / each);
  // It fetches weights before the launches before it are through, so not where one of these brings them.
  const early = layers.every(({ weight }) => !backend.data.get(weight.dataId).gathered);
  backend.launch(kernel, [blocks], [plan.threads], [...before, ...matrices, x.shape[1]!, each], shared, early);
}

// Sizes of Llama-3-8B's and SmolLM2's layers stand for all.
for (const [physical, { form, unit: unitOf }] of fewRowsForms()) {
  for (const X of physical === 'f32' ? ['float'] : FLOATS) {
    for (const BATCH of [1, 2, 3, 4]) {
      for (const [NORM, PAIRED] of [
        [1, 0],
        [0, 0],
        [1, 1],
      ]) {
        const unit = unitOf(BATCH);
        const common = { X, FORM: form, BATCH, BIAS: 'float', NORM_W: X, NORM: NORM!, PAIRED: PAIRED! };
        const rows = Math.max(1, (BATCH === 1 ? 8 : BATCH === 2 ? 4 : 2) / (unit / 8));
        declareVariants('gemv', [{ ...common, LOADS: 1, ROWS: rows, THREADS: 4096 / unit, EXACT: 1 }]);
      }
    }
  }
}
