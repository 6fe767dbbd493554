/** @file Public names of what needs Node. */

export { MODEL_FILE, MODEL_INDEX_FILE } from '../open-model.js';
export { syncDirectory, writeFileAtomically } from './atomic-file.js';
export { makeDirectory } from './directory.js';
export { fileSource } from './file-source.js';
export { isAlive, leftoversOf, removeLeftovers, temporaryPath } from './leftovers.js';
export { directoryFiles, openSafetensorsModel } from './open-model.js';
export { openSafetensors, openTorchFile } from './open-safetensors.js';
export { unwrittenFile, writeBytes } from './write-bytes.js';
export {
  type LazyTensorToWrite,
  type TensorsToWrite,
  writeSafetensors,
  writeSafetensorsModel,
} from './write-safetensors.js';
