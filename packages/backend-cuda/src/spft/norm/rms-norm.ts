/**
 * @file RMSNorm with a frozen weight, and its gradient: rows in registers, sums in float.
 *
 * A norm that is made again for a gradient is not made before somebody wants its numbers: of a product with it there is the same of x, its rows scaled beforehand
 * and its columns afterwards (`normOf`), which reads as much and writes nothing of that size.
 */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { MatrixType } from '../../device/gemm.js';
import type { Defines } from '../../device/modules.js';
import { codesAlong, inputCodesAlong, takesCodesAlone } from '../../forms/codes-along.js';
import { allAligned, inScope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE, type TensorData } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/** Octets that a thread holds (rms-norm.cu): one, which keeps most loads in flight, where a block of threads has room for the row so. */
const octetsFor = (n: number): 1 | 4 => (n <= 8 * 1024 ? 1 : 4);

/**
 * Threads for which a multiprocessor has room, by the registers that a kernel takes: blocks of as many go over the rows in turns, and fetch a row while they
 * work on another.
 */
const RESIDENT = { rms_norm: 1536, rms_norm_grad: 1024 } as const;

/** What `overRows` writes along. */
interface Along {
  readonly beside: readonly number[];
  readonly last?: readonly number[];
  /** Whether codes have columns of outliers. */
  readonly outliers?: 0 | 1;
}

/** A block of threads has a row: enough of them to hold it, at most 1024. */
const threadsFor = (n: number): number => Math.min(1024, Math.max(32, 32 * Math.ceil(n / (8 * octetsFor(n)) / 32)));

type Types = (typeof TYPES)[MatrixType][MatrixType];

/** Definitions of x's and the weight's types, of rows in registers those of octets and threads too: by types, each made once. */
const TYPES = {
  f32: { f32: { X: C_TYPE.f32, W: C_TYPE.f32 }, bf16: { X: C_TYPE.f32, W: C_TYPE.bf16 } },
  bf16: { f32: { X: C_TYPE.bf16, W: C_TYPE.f32 }, bf16: { X: C_TYPE.bf16, W: C_TYPE.bf16 } },
};
const inRegisters = new Map<Types, Defines[]>();

function definesFor(types: Types, octets: 1 | 4, most: 512 | 1024, outliers: 0 | 1): Defines {
  const known = inRegisters.get(types) ?? [];
  inRegisters.set(types, known);
  const place = octets + most + 8 * outliers;
  known[place] ??= { ...types, OCTETS: octets, THREADS: most, ...(outliers && { OUTLIERS: 1 }) };
  return known[place];
}

/** Names and parameters of the two kernels of each; those of rows in registers take codes and scales, and a norm's what it has beside, before the sizes. */
const KERNELS = {
  rms_norm: { long: 'rms_norm_long', ofLong: 'pppif', parameters: 'pppppppiifii' },
  rms_norm_grad: { long: 'rms_norm_grad_long', ofLong: 'pppppif', parameters: 'pppppppiifi' },
} as const;

/**
 * Runs the kernel of rows in registers, or the one of rows that are too long for it. Null addresses are as aligned as any.
 * @param along where else the one of rows in registers writes, asked where it is that: addresses, and numbers that come last.
 */
function overRows(
  backend: CudaBackend,
  entry: keyof typeof RESIDENT,
  types: Types,
  [rows, n]: readonly [number, number],
  addresses: readonly number[],
  along: () => Along,
  eps: number,
): void {
  const threads = threadsFor(n);
  const { long, ofLong, parameters } = KERNELS[entry];
  if (n > 8 * octetsFor(n) * 1024) {
    const kernel = backend.kernel('rms-norm', long, ofLong, types);
    backend.launch(kernel, [rows], [threads], [...addresses, n, eps]);
    return;
  }
  const octets = octetsFor(n);
  const { beside, last = [], outliers = 0 } = along();
  const defines = definesFor(types, octets, octets === 1 && threads <= 512 ? 512 : 1024, outliers);
  const kernel = backend.kernel('rms-norm', entry, parameters, defines);
  const atOnce = backend.device.info.multiprocessors * Math.max(1, Math.floor(RESIDENT[entry] / threads));
  const blocks = octets === 1 ? Math.min(rows, atOnce) : rows;
  const args = addresses.slice();
  args.push(...beside, rows, n, eps, allAligned(n, addresses), ...last);
  backend.launch(kernel, [blocks], [threads], args);
}

/**
 * @param x [T, H]. @param weight [H].
 * @param again whether codes are not wanted, as no frozen matrix is multiplied by what comes.
 * @returns weight ⊙ x / √(mean(x²) + eps) [T, H] in x's type, owned by the caller.
 */
export function rmsNorm(backend: CudaBackend, x: Info, weight: Info, eps: number, again = false): Info {
  const X = typeOf(backend, x);
  const [rows, n] = x.shape as [number, number];
  const inverseRms = inverseRmsOf(backend, x, eps, !again);
  if (again && inverseRms !== 0) return normLater(backend, new Norm(backend, x, weight, eps, inverseRms));
  if (inverseRms !== 0 && !again && codesSuffice(backend, x, weight))
    return codesOf(backend, x, weight, eps, inverseRms);
  return inScope(backend, (scope) => {
    const from = scope.address(x, X);
    const y = scope.output([rows, n], 'float32', X);
    if (n === 0) return y;
    const types = TYPES[X][typeOf(backend, weight)];
    const addresses = [from, backend.address(weight), backend.address(y)];
    const make = (along: () => Along) => overRows(backend, 'rms_norm', types, [rows, n], addresses, along, eps);
    const alone = () => ({ beside: [0, 0, 0, inverseRms], last: [0] });
    make(() => {
      const codes = again ? null : inputCodesAlong(backend, y, weight, () => make(alone));
      if (!codes) return alone();
      const { outliers, stride, scales } = codes;
      const beside = [codes.codes, scales, outliers?.octets ?? 0, inverseRms];
      return { beside, last: [stride], outliers: outliers ? 1 : 0 };
    });
    return y;
  });
}

/**
 * Where 1/√(mean(x²) + eps) of each row is, which the norm writes and its gradients read; 0 where it is not kept: of rows in registers, in bf16, alone.
 * @param makes whether memory is taken for it where there is none.
 */
function inverseRmsOf(backend: CudaBackend, x: Info, eps: number, makes: boolean): number {
  const [rows, n] = x.shape as [number, number];
  if (rows * n === 0 || (n & 7) !== 0 || n > 8 * octetsFor(n) * 1024 || backend.physical(x) !== 'bf16') return 0;
  const name = `1/rms with ${eps}`;
  return makes ? backend.derived(x, name, 4 * rows, () => {}) : backend.derivedAddress(x, name);
}

/** What a norm is of which there are codes alone. */
const CODES = {};
/** Weights of norms of which numbers were wanted, not codes alone. */
const inNumbers = new WeakSet<TensorData>();

/** Whether codes of weight ⊙ x / √(mean(x²) + eps) are all that is wanted of it, as far as is known: an MLP in FP8 without adapters reads nothing else. */
const codesSuffice = (backend: CudaBackend, x: Info, weight: Info): boolean =>
  takesCodesAlone(backend, x.shape, weight) && !inNumbers.has(backend.data.get(weight.dataId));

/** A norm of which codes are made at once, and numbers when they are wanted, which the next time is known. */
function codesOf(backend: CudaBackend, x: Info, weight: Info, eps: number, inverseRms: number): Info {
  const [rows, n] = x.shape as [number, number];
  const types = TYPES.bf16[typeOf(backend, weight)];
  const held = [x, weight].map((info) => backend.share(info));
  const launch = (y: number, along: Along) => {
    const addresses = [backend.address(x), backend.address(weight), y];
    overRows(backend, 'rms_norm', types, [rows, n], addresses, () => along, eps);
  };
  const y = backend.later(x.shape, 'float32', 'bf16', {
    recipe: CODES,
    make(y) {
      backend.device.recording?.refuse('numbers of a norm were wanted for the first time');
      inNumbers.add(backend.data.get(weight.dataId));
      launch(y, { beside: [0, 0, 0, 0], last: [0] });
    },
    end() {
      for (const info of held) backend.release(info);
    },
  });
  const { codes, scales, stride, outliers } = inputCodesAlong(backend, y, weight, () => {})!;
  const beside = [codes, scales, outliers?.octets ?? 0, inverseRms];
  launch(0, { beside, last: [stride], outliers: outliers ? 1 : 0 });
  return y;
}

/** A norm that is made again, if it must be. */
export class Norm {
  readonly x: Info;
  readonly weight: Info;

  /** @param inverseRms address of 1/√(mean(x²) + eps) of each row, kept with x. */
  constructor(
    readonly backend: CudaBackend,
    x: Info,
    weight: Info,
    readonly eps: number,
    readonly inverseRms: number,
  ) {
    this.x = backend.share(x);
    this.weight = backend.share(weight);
  }
}

function normLater(backend: CudaBackend, norm: Norm): Info {
  const { x, weight, eps } = norm;
  const [rows, n] = x.shape as [number, number];
  return backend.later(x.shape, 'float32', 'bf16', {
    recipe: norm,
    make(y) {
      const types = TYPES.bf16[typeOf(backend, weight)];
      const addresses = [backend.address(x), backend.address(weight), y];
      overRows(backend, 'rms_norm', types, [rows, n], addresses, () => ({ beside: [0, 0, 0, 0], last: [0] }), eps);
    },
    end() {
      backend.release(x);
      backend.release(weight);
    },
  });
}

/** What norm x is, where it is still to be made. */
export function normOf(backend: CudaBackend, x: Info): Norm | null {
  const recipe = backend.recipeOf(x);
  return recipe instanceof Norm ? recipe : null;
}

/**
 * The gradient of x, [T, H] in x's type, owned by the caller.
 * @param residual a gradient that x gets elsewhere, which is added.
 */
export function rmsNormGrad(
  backend: CudaBackend,
  x: Info,
  weight: Info,
  dy: Info,
  eps: number,
  residual: Info | null = null,
): Info {
  const X = typeOf(backend, x);
  const [rows, n] = x.shape as [number, number];
  return inScope(backend, (scope) => {
    const [of, along] = [scope.address(x, X), scope.address(dy, X)];
    const dx = scope.output([rows, n], 'float32', X);
    if (n === 0) return dx;
    const types = TYPES[X][typeOf(backend, weight)];
    const besides = residual ? scope.address(residual, X) : 0;
    const addresses = [of, backend.address(weight), along, besides, backend.address(dx)];
    const codes = () => ({ beside: codesAlong(backend, dx) });
    overRows(backend, 'rms_norm_grad', types, [rows, n], addresses, codes, eps);
    return dx;
  });
}

declareVariants('rms-norm', [
  ...combinations({ X: FLOATS, W: FLOATS, OCTETS: [1], THREADS: [512, 1024] }),
  ...combinations({ X: FLOATS, W: FLOATS, OCTETS: [4], THREADS: [1024] }),
  ...combinations({ X: FLOATS, W: FLOATS, OCTETS: [1], THREADS: [512, 1024], OUTLIERS: [1] }),
  ...combinations({ X: FLOATS, W: FLOATS, OCTETS: [4], THREADS: [1024], OUTLIERS: [1] }),
]);

/** Kernels of the contract. */
export const rmsNormKernels = {
  SpftRmsNorm: ({ backend, inputs: { x, weight }, attributes: { eps, again } }) =>
    rmsNorm(backend, x, weight, eps, again),
  SpftRmsNormGrad: ({ backend, inputs: { x, weight, dy }, attributes: { eps } }) =>
    rmsNormGrad(backend, x, weight, dy, eps),
  SpftRmsNormResidualGrad: ({ backend, inputs: { x, weight, dy, dresidual }, attributes: { eps } }) =>
    rmsNormGrad(backend, x, weight, dy, eps, dresidual),
} satisfies CudaKernels;
