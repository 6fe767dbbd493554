/** @file A model's weights as they come from a file of whichever format: what is asked of safetensors files, and of others by their like. */
import type { SafetensorsFile } from '@spft/safetensors';

/** Tensors by their names in a checkpoint, in its shapes; `SafetensorsFile` is one. */
export type ModelWeights = Pick<SafetensorsFile, 'names' | 'has' | 'entry' | 'bytes' | 'float32' | 'close'>;
