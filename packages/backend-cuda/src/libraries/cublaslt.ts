/** @file The functions and constants of cuBLASLt that are used. */
import type { DeviceInfo } from '../device/device.js';
import { bind, type NativeFunction } from './native.js';
import { checkVersion } from './versions.js';

const SIGNATURES = {
  cublasLtCreate: 'void* handle',
  cublasLtDestroy: 'uint64_t handle',
  cublasLtMatmulDescCreate: 'void* description, int compute, int scale',
  cublasLtMatmulDescSetAttribute: 'uint64_t description, int attribute, const void* value, size_t bytes',
  cublasLtMatmulDescDestroy: 'uint64_t description',
  cublasLtMatrixLayoutCreate: 'void* layout, int type, uint64_t rows, uint64_t columns, int64_t leading',
  cublasLtMatrixLayoutSetAttribute: 'uint64_t layout, int attribute, const void* value, size_t bytes',
  cublasLtMatrixLayoutDestroy: 'uint64_t layout',
  cublasLtMatmulPreferenceCreate: 'void* preference',
  cublasLtMatmulPreferenceSetAttribute: 'uint64_t preference, int attribute, const void* value, size_t bytes',
  cublasLtMatmulPreferenceDestroy: 'uint64_t preference',
  cublasLtMatmulAlgoGetHeuristic:
    'uint64_t handle, uint64_t description, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t preference, int wanted, void* results, ' +
    'void* found',
  cublasLtMatmulAlgoConfigGetAttribute: 'uint64_t algorithm, int setting, void* value, size_t bytes, uint64_t written',
  cublasLtMatmul:
    'uint64_t handle, uint64_t description, uint64_t alpha, uint64_t a, uint64_t layoutA, uint64_t b, uint64_t layoutB, uint64_t beta, ' +
    'uint64_t c, uint64_t layoutC, uint64_t d, uint64_t layoutD, uint64_t algorithm, uint64_t workspace, size_t bytes, uint64_t stream',
} as const;

export type CublasLtFunctions = Record<keyof typeof SIGNATURES, NativeFunction>;

/** @throws Error of the dynamic loader, CudaUnavailableError where the version does not go with the device. */
export function bindCublasLt(path: string, device?: DeviceInfo): CublasLtFunctions {
  const functions = bind(path, SIGNATURES);
  cublasLtVersion(path, device);
  return functions;
}

/** e.g. 12.8.4, checked as in `bindCublasLt`. */
export function cublasLtVersion(path: string, device?: DeviceInfo): string {
  const version = bind(path, { cublasLtGetVersion: '' }).cublasLtGetVersion(); // e.g. 120804
  const text = `${Math.floor(version / 10000)}.${Math.floor(version / 100) % 100}.${version % 100}`;
  checkVersion('cuBLASLt', text, device);
  return text;
}

/** cudaDataType_t. */
export const DATA_TYPE = { f32: 0, bf16: 14, e4m3: 28 } as const;
/** cublasComputeType_t: products of float32 in full precision, sums in float32. */
export const COMPUTE_32F = 68;

/** cublasLtMatmulDescAttributes_t. */
export const DESCRIPTION = {
  ...{ transposeA: 3, transposeB: 4, multiprocessors: 15 },
  ...{ scaleA: 17, scaleB: 18, fastAccumulation: 25, scaleModeA: 31, scaleModeB: 32 },
} as const;
/** cublasLtMatmulMatrixScale_t: a float for each row of what a product gives; both operands have it or neither. From cuBLASLt 12.9, on Hopper. */
export const SCALE_BY_ROW = 3;
/** cublasLtMatrixLayoutAttribute_t. */
export const LAYOUT = { batchCount: 5, batchStride: 6 } as const;
/** cublasLtMatmulPreferenceAttributes_t. */
export const PREFERENCE = { workspaceBytes: 1, alignmentA: 5, alignmentB: 6, alignmentC: 7, alignmentD: 8 } as const;

/** cublasLtMatmulHeuristicResult_t: its size, that of the algorithm at its beginning, and where the bytes of workspace are that it needs. */
export const HEURISTIC_BYTES = 96;
export const ALGORITHM_BYTES = 64;
export const WORKSPACE_AT = 64;
/** Where its status is; of other than 0 nothing else in it holds. */
export const STATE_AT = 72;

/**
 * Bytes of each of an algorithm's settings, cublasLtMatmulAlgoConfigAttributes_t in order: its number, tile, split of k, reduction of the parts, swizzling,
 * custom option, stages, inner shape, cluster shape.
 */
export const SETTING_BYTES = [4, 4, 4, 4, 4, 4, 4, 2, 2] as const;

/** The setting that is the cluster shape. */
export const CLUSTER_SHAPE = 8;
/** cublasLtClusterShape_t of clusters of up to four blocks (1×1, 2×1, 4×1, 1×2, 2×2, 1×4, 3×1, 1×3); 0 is for kernels that have none. */
export const SMALL_CLUSTERS: ReadonlySet<number> = new Set([0, 2, 3, 4, 5, 6, 8, 17, 32]);

/** Names of cublasStatus_t. */
export const CUBLAS_STATUS: Readonly<Record<number, string>> = {
  1: 'CUBLAS_STATUS_NOT_INITIALIZED',
  3: 'CUBLAS_STATUS_ALLOC_FAILED',
  7: 'CUBLAS_STATUS_INVALID_VALUE',
  8: 'CUBLAS_STATUS_ARCH_MISMATCH',
  11: 'CUBLAS_STATUS_MAPPING_ERROR',
  13: 'CUBLAS_STATUS_EXECUTION_FAILED',
  14: 'CUBLAS_STATUS_INTERNAL_ERROR',
  15: 'CUBLAS_STATUS_NOT_SUPPORTED',
};
