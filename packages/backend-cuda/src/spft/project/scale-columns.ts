/** @file Columns of a matrix times a weight each, in place: what is left of a norm whose rows were scaled elsewhere. */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';

/** @param x [rows, columns] in float, at a multiple of 16 bytes; columns are a multiple of 4. @param weight [columns]. */
export function scaleColumns(backend: CudaBackend, x: TensorInfo, weight: TensorInfo): void {
  const [rows, columns] = x.shape as [number, number];
  const kernel = backend.kernel('scale-columns', 'scale_columns', 'ppil', { WEIGHT: C_TYPE[backend.physical(weight)] });
  const args = [backend.address(x), backend.address(weight), columns, rows * columns];
  backend.launch(kernel, [Math.ceil((rows * columns) / 1024)], [256], args);
}

declareVariants('scale-columns', combinations({ WEIGHT: FLOATS }));
