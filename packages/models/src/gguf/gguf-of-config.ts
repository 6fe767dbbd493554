/** @file A Llama's config as a GGUF file's metadata (`LlamaModel.set_gguf_parameters` of convert_hf_to_gguf.py). */
import { float32, type MetadataValue, string, uint32 } from '@spft/gguf';
import type { RopeScaling } from '@spft/sparse-ops';
import { ModelError } from '../errors.js';
import type { LlamaConfig } from '../llama-config.js';

/** @throws ModelError when llama.cpp cannot compute a model of this config. */
export function ggufOfConfig(config: LlamaConfig): Map<string, MetadataValue> {
  const metadata = new Map<string, MetadataValue>();
  const add = (key: string, value: MetadataValue) => metadata.set(`llama.${key}`, value);
  add('vocab_size', uint32(config.vocabSize));
  add('context_length', uint32(config.maxPositionEmbeddings));
  add('embedding_length', uint32(config.hiddenSize));
  add('block_count', uint32(config.numHiddenLayers));
  add('feed_forward_length', uint32(config.intermediateSize));
  add('attention.head_count', uint32(config.numAttentionHeads));
  add('attention.head_count_kv', uint32(config.numKeyValueHeads));
  add('attention.key_length', uint32(config.headDim));
  add('attention.value_length', uint32(config.headDim));
  add('attention.layer_norm_rms_epsilon', float32(config.rmsNormEps));
  add('rope.dimension_count', uint32(config.headDim));
  add('rope.freq_base', float32(config.ropeTheta));
  for (const [key, value] of ropeScaling(config.ropeScaling)) add(`rope.scaling.${key}`, value);
  return metadata;
}

/** Llama 3.1's is a tensor, not metadata (`ropeFactors`). */
function* ropeScaling(scaling: RopeScaling | null): Generator<[string, MetadataValue]> {
  switch (scaling?.ropeType) {
    case undefined:
    case 'llama3':
      return;
    case 'linear':
      yield ['type', string('linear')];
      yield ['factor', float32(scaling.factor)];
      return;
    case 'yarn': {
      if (!scaling.truncate) {
        throw new ModelError(
          'config.json: rope_scaling.truncate: is false; llama.cpp rounds the limits of YaRN, so that it would compute another model',
        );
      }
      const usual = scaling.factor <= 1 ? 1 : 0.1 * Math.log(scaling.factor) + 1;
      yield ['type', string('yarn')];
      yield ['factor', float32(scaling.factor)];
      yield ['original_context_length', uint32(scaling.originalMaxPositionEmbeddings)];
      yield ['yarn_beta_fast', float32(scaling.betaFast)];
      yield ['yarn_beta_slow', float32(scaling.betaSlow)];
      if (Math.abs(scaling.attentionFactor / usual - 1) > 1e-6)
        yield ['attn_factor', float32(scaling.attentionFactor / usual)];
      return;
    }
    case 'dynamic':
      throw new ModelError(
        "config.json: rope_scaling: 'dynamic' depends on the length of the text, which llama.cpp has not; remove it where texts stay within max_position_embeddings, or choose yarn",
      );
  }
}
