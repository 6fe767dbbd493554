/**
 * @file Frozen matrices in E4M3 (FP8): a byte a number and one scale a matrix, a power of two. Products run on codes on both sides, at twice the speed of
 * bf16 and half of its bytes, with activations and gradients quantised on the fly (quantised-rows.ts).
 *
 * One scale a matrix: a scale moves the range of codes and leaves their precision alone, and weights fill 17 powers of two hardly ever; a scale for each
 * output channel came out the same to three digits (PARITY.md). cuBLASLt takes both operands with the inner dimension along memory, so gradients need the
 * transposed codes: made for each product (33 µs for 59 MB on an H200), or kept, for as much memory again.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { CudaFormError } from '../errors.js';
import { aligned } from '../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../shared/variants.js';
import { C_TYPE, type Codebook } from '../storage.js';
import { wantCodes, writtenAlong } from './codes-along.js';
import { keptRowsUnpacked, type Role, registerForm, type StoredForm, type Sum } from './form.js';
import { chooseOutliers, type OutlierChannels, outliersAmong, outliersOf, repeatColumns } from './outlier-channels.js';
import { multiplyPlain, PlainRows, plainForm, plainRows } from './plain.js';
import { type QuantisedRows, quantiseByScale, quantiseRows, scaleOfAll, scalesFinest } from './quantised-rows.js';
import { isSkinny, timesSkinny } from './skinny.js';
import { registerUnpacking } from './unpacking.js';

/** What `derived` calls the transposed codes. */
const TRANSPOSED = 'transposed codes';

/**
 * The scale of matrices whose greatest number is between 0.014 and 3.5, which nearly all are: with one scale, kept rows of several matrices are one matrix, and
 * gradients of several layers meet them in one product. Numbers are then rounded to four bits down to 2^-13, below that to multiples of 2^-16: where the
 * greatest is 0.014, of normal numbers 4 % are below, and are off by 0.2 % of the deviation, which adds nothing to the 2.6 % of the others.
 */
const USUAL_SCALE = 2 ** -7;

/** Beside the codes: in memory, and here what a code is multiplied by. */
export interface E4m3Codebook extends Codebook {
  readonly scale: number;
  /** Whether the transposed codes are kept once made, rather than made for each product that wants them. */
  readonly keepsTransposed: boolean;
  /** Columns of the matrix. */
  readonly inputs: number;
  /** Columns behind each row, of outlier channels of what is multiplied by it: rows are so much longer. */
  readonly outliers: number;
  /** Whose columns lie there. */
  repeated: OutlierChannels | null;
  /** Whether rows that were quantised for it alone have outliers of their own: not those for what was gathered from it. */
  readonly chooses: boolean;
}

export const codebookOf = (backend: CudaBackend, weight: TensorInfo) => backend.codebook(weight) as E4m3Codebook;

/** Codes from row to row. */
const strideOf = (backend: CudaBackend, weight: TensorInfo): number =>
  weight.shape[1]! + codebookOf(backend, weight).outliers;

/** Whether products can run on its codes: sides in units of 16. Others are unpacked. */
export const runsOnCodes = (backend: CudaBackend, weight: TensorInfo): boolean =>
  backend.physical(weight) === 'e4m3' && fits(weight);

const fits = ({ shape }: TensorInfo): boolean => shape.every((n) => n > 0 && n % 16 === 0);

/** @throws CudaFormError where this GPU has no products of E4M3. */
function checkE4m3(backend: CudaBackend): void {
  const { name, capability } = backend.device.info;
  const [major, minor] = capability;
  if (major > 8 || (major === 8 && minor >= 9)) return;
  throw new CudaFormError(
    `weights in FP8 (e4m3) need a GPU of compute capability 8.9 or newer (Ada, Hopper, Blackwell); ${name} has ${major}.${minor}: ` +
      'leave base_precision out, and weights stay in bf16',
  );
}

/**
 * x [out, in] in E4M3; owned by the caller.
 * @param keepsTransposed whether the transposed codes are kept once they were wanted.
 * @param wanted columns for so many outlier channels (outlier-channels.ts), a multiple of 16; those of few inputs have none.
 * @throws CudaFormError.
 */
export function storeAsE4m3(backend: CudaBackend, x: TensorInfo, keepsTransposed: boolean, wanted = 0): TensorInfo {
  checkE4m3(backend);
  const [out, inputs] = x.shape as [number, number];
  if (wanted > 0 && !scalesFinest(backend, inputs)) {
    throw new CudaFormError(
      `outlier channels need a scale for each row of an input, which products of ${inputs} channels in FP8 have not on ${backend.device.info.name}: leave fp8_outlier_channels out`,
    );
  }
  const outliers = fits(x) ? outliersAmong(inputs, wanted) : 0;
  const codes = newCodes(backend, out, inputs, outliers);
  const block = backend.memoryPool.allocate(4, 'scales of weights');
  try {
    scaleOfAll(backend, x, block.address);
    const scale = new Float32Array(1);
    backend.readFrom(block.address, scale);
    if (Number.isNaN(scale[0])) {
      throw new CudaFormError(
        'a weight to be stored in FP8 has numbers that are not finite; is the checkpoint damaged?',
      );
    }
    if (scale[0]! <= USUAL_SCALE && scale[0]! >= USUAL_SCALE / 128) {
      scale[0] = USUAL_SCALE;
      backend.uploadTo(block.address, scale);
    }
    quantiseByScale(backend, x, backend.address(codes), block.address, inputs + outliers);
    const codebook: E4m3Codebook = {
      ...{ block, scale: scale[0]!, keepsTransposed, inputs, outliers, repeated: null, chooses: true },
    };
    if (fits(codes)) {
      wantCodes(backend, codes.shape, outliers);
      backend.expectCodes();
    }
    backend.setCodebook(codes, codebook);
    return codes;
  } finally {
    backend.memoryPool.release(block);
  }
}

/** Codes [out, inputs] with columns behind each row, still to be written. */
function newCodes(backend: CudaBackend, out: number, inputs: number, outliers: number): TensorInfo {
  if (outliers === 0) return backend.output([out, inputs], 'float32', 'e4m3');
  const whole = backend.output([out, inputs + outliers], 'float32', 'e4m3');
  const codes = backend.view(whole, [out, inputs]);
  backend.release(whole);
  return codes;
}

/** `codes` of `weight`, gathered, as a matrix of its own. @param outliers columns behind its rows. */
function withCodebookOf(backend: CudaBackend, weight: TensorInfo, codes: TensorInfo, outliers: number): TensorInfo {
  const own = { keepsTransposed: false, inputs: codes.shape[1]!, outliers, chooses: false };
  const codebook: E4m3Codebook = { ...codebookOf(backend, weight), ...own };
  backend.setCodebook(codes, codebook);
  if (fits(codes)) return codes;
  const plain = backend.as(codes, backend.weightType);
  backend.release(codes);
  return plain;
}

/** Writes Wᵀ's codes to `to`, [in, out] with rows `stride` apart. */
function transposeCodes(backend: CudaBackend, weight: TensorInfo, to: number, stride = weight.shape[0]!): void {
  const [rows, columns] = weight.shape as [number, number];
  const kernel = backend.kernel('transpose-bytes', 'transpose_bytes', 'pppiiii');
  const grid = [Math.ceil(columns / 128), Math.ceil(rows / 128)] as const;
  const args = [backend.address(weight), 0, to, rows, columns, strideOf(backend, weight), stride];
  backend.launch(kernel, grid, [256], args);
}

/** Runs `f` with the address of Wᵀ's codes [in, out]. */
function withTransposed(backend: CudaBackend, weight: TensorInfo, f: (codes: number) => void): void {
  const bytes = weight.shape[0]! * weight.shape[1]!;
  const make = (to: number) => transposeCodes(backend, weight, to);
  if (codebookOf(backend, weight).keepsTransposed) {
    f(backend.derived(weight, TRANSPOSED, bytes, make));
    return;
  }
  backend.scratch(bytes, (to) => {
    make(to);
    f(to);
  });
}

/** d = a·bᵀ of codes, b [n, a's columns]. @param k how many columns, with those of outliers. */
function multiplyCodes(
  backend: CudaBackend,
  a: QuantisedRows,
  b: number,
  n: number,
  alpha: number,
  { d, type: outputType, ldd, beta, c, lowRank, turn }: Sum,
  k = a.columns,
  ldb = k,
): void {
  const { rows: m, stride: lda, codes, scales: scaleA, byRow: scaledByRow } = a;
  backend.multiply({
    ...{ m, n, k, transposeB: true, type: 'e4m3', outputType, alpha, beta, a: codes, b, c, d },
    ...{ lda, ldb, ldd, scaleA, scaledByRow, lowRank, turn },
  });
}

/** d = Σ dyᵢ·Wᵢ for the codes of all dyᵢ side by side, of matrices as they lie. @returns whether it was made: not where a kernel of ours does not take it. */
function timesAsTheyLie(
  backend: CudaBackend,
  dys: QuantisedRows,
  weights: readonly TensorInfo[],
  { type, ...sum }: Sum,
): boolean {
  const [{ scale, keepsTransposed }, inputs] = [codebookOf(backend, weights[0]!), weights[0]!.shape[1]!];
  if (keepsTransposed || type !== 'bf16' || !backend.takesGradient(dys.rows, inputs, dys.columns)) return false;
  const { rows, codes, stride, scales, byRow: scaledByRow } = dys;
  const matrices = weights.map((weight) => ({
    codes: backend.address(weight),
    k: weight.shape[0]!,
    stride: strideOf(backend, weight),
  }));
  return backend.multiplyGradient({
    ...{ rows, inputs, dy: { codes, stride }, scales, scaledByRow, matrices, alpha: scale },
    ...sum,
  });
}

/** Whether so many rows of Σ dyᵢ·Wᵢ, where `multipliesTogether` says that it is one product, are made by a kernel of ours, which can add a branch. */
export const hasOwnGradient = (backend: CudaBackend, rows: number, weights: readonly TensorInfo[]): boolean =>
  backend.takesGradient(
    rows,
    weights[0]!.shape[1]!,
    weights.reduce((sum, { shape }) => sum + shape[0]!, 0),
  );

/**
 * Whether dx = Σ dyᵢ·Wᵢ is one product: of matrices on codes with one scale in common, whose transposed codes are made for it, side by side. (Kept ones lie
 * apart.)
 */
export function multipliesTogether(backend: CudaBackend, weights: readonly TensorInfo[]): boolean {
  if (!weights.every((weight) => runsOnCodes(backend, weight))) return false;
  const [first, ...others] = weights.map((weight) => codebookOf(backend, weight));
  return (
    !first!.keepsTransposed && others.every(({ scale, keepsTransposed }) => scale === first!.scale && !keepsTransposed)
  );
}

/** d = Σ dyᵢ·Wᵢ for the codes of all dyᵢ side by side, where `multipliesTogether` says so. */
export function timesTransposedTogether(
  backend: CudaBackend,
  dys: QuantisedRows,
  weights: readonly TensorInfo[],
  sum: Sum,
): void {
  const [inputs, { scale }] = [weights[0]!.shape[1]!, codebookOf(backend, weights[0]!)];
  // Few rows are no reason to transpose.
  if (weights.every((weight) => isSkinny(backend, dys.rows, weight.shape[0]! * inputs))) {
    let from = 0;
    weights.forEach((weight, n) => {
      const to = from + weight.shape[0]!;
      e4m3Form.timesTransposed(
        backend,
        dys.sliceColumns(from, to),
        weight,
        n === 0 ? sum : { ...sum, c: sum.d, beta: 1 },
      );
      from = to;
    });
    return;
  }
  if (timesAsTheyLie(backend, dys, weights, sum)) return;
  backend.scratch(inputs * dys.columns, (codes) => {
    let at = 0;
    for (const weight of weights) {
      transposeCodes(backend, weight, codes + at, dys.columns);
      at += weight.shape[0]!;
    }
    multiplyCodes(backend, dys, codes, inputs, scale, sum);
  });
}

/** Columns of a product: those of outliers too where the matrix has theirs, which it gets by the first rows that have outliers. */
function innerOf(backend: CudaBackend, { outliers }: QuantisedRows, weight: TensorInfo): number {
  const [out, inputs] = weight.shape as [number, number];
  const codebook = codebookOf(backend, weight);
  if (!outliers || codebook.outliers !== outliers.count) return inputs;
  if (codebook.repeated === null) {
    if (codebook.chooses)
      backend.device.recording?.refuse('columns of outlier channels were repeated for the first time');
    repeatColumns(backend, backend.address(weight), [out, inputs], outliers);
    codebook.repeated = outliers;
  }
  return codebook.repeated === outliers ? inputs + outliers.count : inputs;
}

/**
 * Outliers of an input that is made for `weight` alone, chosen where there are none by the numbers of `make`; null for none.
 * @param make a tensor that is then given back.
 */
export function ownOutliers(backend: CudaBackend, weight: TensorInfo, make: () => TensorInfo): OutlierChannels | null {
  const { outliers, chooses } = codebookOf(backend, weight);
  if (!chooses || outliers === 0) return null;
  const known = outliersOf(backend, weight);
  if (known) return known;
  const x = make();
  try {
    return chooseOutliers(backend, weight, x, outliers);
  } finally {
    backend.release(x);
  }
}

/** The codes of x, with outliers of its own where it was not written with codes along. */
function rowsInCodes(backend: CudaBackend, x: TensorInfo, weight: TensorInfo, role: Role): QuantisedRows {
  const along = writtenAlong(backend, x);
  if (along) return along;
  const own = role === 'input' && x.shape[0]! > 0;
  return quantiseRows(backend, x, role, own ? ownOutliers(backend, weight, () => backend.share(x)) : null);
}

const e4m3Form: StoredForm = {
  keyOf: (weight) => (fits(weight) ? 'e4m3' : 'plain'),
  rowsOf: (backend, x, weight, type, role) =>
    fits(weight) ? rowsInCodes(backend, x, weight, role) : plainRows(backend, x, type),
  times(backend, x, weight, sum) {
    if (x instanceof PlainRows) multiplyPlain(backend, x, weight, true, sum);
    else {
      const { scale } = codebookOf(backend, weight);
      const codes = x as QuantisedRows;
      const [inner, ldw] = [innerOf(backend, codes, weight), strideOf(backend, weight)];
      if (timesSkinny(backend, codes, weight, scale, false, sum, { inner, ldw })) return;
      multiplyCodes(backend, codes, backend.address(weight), weight.shape[0]!, scale, sum, inner, ldw);
    }
  },
  timesTransposed(backend, dy, weight, sum) {
    if (dy instanceof PlainRows) multiplyPlain(backend, dy, weight, false, sum);
    else {
      const { scale } = codebookOf(backend, weight);
      const rows = dy as QuantisedRows;
      const place = { inner: weight.shape[1]!, ldw: strideOf(backend, weight) };
      if (timesSkinny(backend, rows, weight, scale, true, sum, place)) return;
      if (timesAsTheyLie(backend, rows, [weight], sum)) return;
      withTransposed(backend, weight, (codes) => multiplyCodes(backend, rows, codes, weight.shape[1]!, scale, sum));
    }
  },
  addsLowRank(backend, weight, rows, transposed) {
    const [out, inputs] = weight.shape as [number, number];
    if (!fits(weight) || backend.address(weight) % 16 !== 0) return false;
    if (!transposed) return backend.hasOwnProduct(rows, out, inputs);
    return !codebookOf(backend, weight).keepsTransposed && backend.takesGradient(rows, inputs, out);
  },
  keptRows(backend, weights, indices) {
    const [first, ...others] = weights.map((weight) => codebookOf(backend, weight));
    const alike = ({ scale, outliers, repeated }: E4m3Codebook) =>
      scale === first!.scale && outliers === first!.outliers && repeated === first!.repeated;
    if (!others.every(alike)) return keptRowsUnpacked(backend, weights, indices);
    if (first!.outliers === 0)
      return withCodebookOf(backend, weights[0]!, plainForm.keptRows(backend, weights, indices), 0);
    // Whole rows, with what lies behind them.
    const wholes = weights.map((weight) => backend.view(weight, [weight.shape[0]!, strideOf(backend, weight)]));
    const gathered = plainForm.keptRows(backend, wholes, indices);
    const codes = backend.view(gathered, [gathered.shape[0]!, weights[0]!.shape[1]!]);
    for (const info of [...wholes, gathered]) backend.release(info);
    return withCodebookOf(backend, weights[0]!, codes, first!.outliers);
  },
  keptColumns(backend, weight, indices) {
    const rows = weight.shape[0]!;
    const whole = backend.view(weight, [rows, strideOf(backend, weight)]);
    const codes = plainForm.keptColumns(backend, whole, indices);
    backend.release(whole);
    return withCodebookOf(backend, weight, codes, 0);
  },
};

registerForm(['e4m3'], e4m3Form);

registerUnpacking('e4m3', {
  unpack(host, from, to, physical) {
    const size = from.shape.reduce((product, n) => product * n, 1);
    const codes = host.address(from);
    const { block, inputs, outliers } = host.codebook(from) as E4m3Codebook;
    // Rows that lie one after the other are one.
    const columns = outliers === 0 ? size : inputs;
    const kernel = host.kernel('dequantise', 'dequantise', 'pppllli', { TO: C_TYPE[physical] });
    const args = [codes, block.address, to, size, columns, columns + outliers, aligned(8, codes, to)];
    host.launch(kernel, [Math.min(8192, Math.ceil(size / 2048))], [256], args);
  },
});

declareVariants('dequantise', combinations({ TO: FLOATS }));
declareVariants('transpose-bytes');
