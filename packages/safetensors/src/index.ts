/** @file Public names. */
export { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './convert.js';
export { DTYPE_BYTES, type Dtype, elementCount } from './dtypes.js';
export { SafetensorsError } from './errors.js';
export { type ByteSource, openSource, parseSafetensors, type SafetensorsFile } from './file.js';
export { firstNonFinite, firstNonFiniteStored } from './finite.js';
export { serializeSafetensors, type TensorData, type TensorSpec, type TensorToWrite } from './serialize.js';
export { showValue } from './show-value.js';
export { BARE_TENSOR, openTorchSource } from './torch/torch-file.js';
