/** @file Public names. */
export { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './convert.js';
export { DTYPE_BYTES, type Dtype, elementCount } from './dtypes.js';
export { SafetensorsError } from './errors.js';
export { type ByteSource, openSource, parseSafetensors, type SafetensorsFile, sourceOfBytes } from './file.js';
export { type FileSet, filesInMemory, readText, sourceOfBlob } from './file-set.js';
export { firstNonFinite, firstNonFiniteStored } from './finite.js';
export { UnknownOptionError } from './known-options.js';
export { MODEL_FILE, MODEL_INDEX_FILE, openModelWeights } from './open-model.js';
export { serializeSafetensors, type TensorData, type TensorSpec, type TensorToWrite } from './serialize.js';
export { showValue } from './show-value.js';
export { BARE_TENSOR, openTorchSource } from './torch/torch-file.js';
