/** @file How a model's frozen weights are to be loaded: in which form, and by which of several processes. */
import type { OptionNames } from '@spft/safetensors/internals';
import type { FourBitType, StoreAsOptions, StoredFormName, WeightShards } from '@spft/sparse-ops';
import { ModelError } from './errors.js';

/** How the frozen matrices of linear layers are stored: `bf16` as the backend has weights by itself (float32 on backends without bf16). */
export const BASE_PRECISIONS = ['bf16', 'fp8', 'nf4', 'fp4'] as const;
export type BasePrecision = (typeof BASE_PRECISIONS)[number];

export interface LoadOptions {
  /**
   * `fp8`: q, k, v, o, gate, up and down in E4M3, whose products are about twice as fast and whose memory is half, on GPUs that have them. Embedding, head,
   * norms and adapters stay as they are. `nf4`, `fp4`: those matrices in 4 bits, as bitsandbytes has them (QLoRA), on every backend. Default `bf16`; a
   * checkpoint that has matrices in 4 bits keeps them so.
   */
  readonly basePrecision?: BasePrecision;
  /**
   * With `fp8`, `nf4` and `fp4`: linear layers whose matrices stay as the backend has them, each by its name (`model.layers.0.mlp.down_proj`), the end of one
   * (`k_proj`) or a module around it (`model.layers.0`), as transformers has them. Default none.
   */
  readonly modulesToNotConvert?: readonly string[];
  /** With `nf4` and `fp4`: scales in 8 bits too (`bnb_4bit_use_double_quant`), for 0.37 bits a number less. Default false. */
  readonly doubleQuantisation?: boolean;
  /** With `nf4` and `fp4`: embedding and head in 4 bits too. Default false. */
  readonly quantiseEmbeddings?: boolean;
  /** Matrices that the checkpoint has in 4 bits become plain numbers: what a merged model is made from. Default false. */
  readonly dequantise?: boolean;
  /**
   * With `fp8`: so many input channels of each layer, those of most energy, are multiplied in twice as many bits (LLM.int8()'s outlier channels, in as many more
   * columns of codes): a multiple of 16 up to 240. By default 128, with which training loss is within 1 % of bf16's (docs/RESULTS.md), where a layer has twice as many
   * inputs and the GPU can have them (Hopper); with shards none. Which ones they are is chosen by the first rows that the model computes: for the same ones in two
   * processes show both the same batch first.
   */
  readonly outlierChannels?: number;
  /** With `fp8`: keeps the transposed matrices that gradients need, rather than making them in every step. Faster, for as much memory again. */
  readonly keepTransposed?: boolean;
  /**
   * Each of several processes holds a part of the frozen matrices of linear layers, and reads that part alone of a file; the others' come from them when
   * a layer is used. Embedding, head, norms, biases and adapters are whole everywhere. All processes load together, and use the model together.
   */
  readonly shards?: WeightShards | null;
  /** Told after each tensor. */
  readonly onProgress?: (loaded: number, total: number) => void;
}

export const LOAD_OPTIONS: OptionNames<LoadOptions> = {
  ...{ basePrecision: true, modulesToNotConvert: true, doubleQuantisation: true, quantiseEmbeddings: true },
  ...{ dequantise: true, outlierChannels: true, keepTransposed: true, shards: true, onProgress: true },
};

export const is4Bits = (form: StoredFormName | null): form is FourBitType => form === 'nf4' || form === 'fp4';

/** The form of sparse-ops for a precision, null for what backends have by themselves. @throws ModelError for one that is none. */
export function formOfPrecision({ basePrecision = 'bf16' }: LoadOptions): StoredFormName | null {
  if (basePrecision === 'bf16') return null;
  if (BASE_PRECISIONS.includes(basePrecision)) return basePrecision;
  throw new ModelError(`basePrecision is '${basePrecision}', must be one of ${BASE_PRECISIONS.join(', ')}`);
}

/** How a matrix is stored in its form. */
export const storeOptions = ({
  keepTransposed = false,
  shards,
  outlierChannels,
  doubleQuantisation = false,
}: LoadOptions): StoreAsOptions => ({
  keepTransposed,
  outlierChannels: outlierChannels ?? (shards ? 0 : 'auto'),
  doubleQuantisation,
});
