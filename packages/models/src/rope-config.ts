/**
 * @file RoPE in config.json, read as transformers 5.24 does (`convert_rope_params_to_dict` and `standardize_rope_params` of
 * modeling_rope_utils.py): `rope_scaling`, where it says anything, counts before `rope_parameters`; `original_max_position_embeddings` at the
 * top level counts before that in the dictionary, and `max_position_embeddings` where neither is there.
 */
import { showValue } from '@spft/safetensors';
import type { Llama3RopeScaling, RopeScaling, YarnRopeScaling } from '@spft/sparse-ops';
import { isJson, type Json, Reader } from './config-reader.js';

interface Sizes {
  readonly headDim: number;
  readonly maxPositionEmbeddings: number;
}

/** The dictionary that counts, by its key. Python's truth: an empty one says nothing. */
export function effectiveRopeKey(json: Json): 'rope_scaling' | 'rope_parameters' {
  const { rope_scaling: scaling } = json;
  const says = isJson(scaling) ? Object.keys(scaling).length > 0 : Boolean(scaling);
  return says || json.rope_parameters == null ? 'rope_scaling' : 'rope_parameters';
}

/** Base and scaling of the frequencies; what is wrong goes to `top.problems`. */
export function parseRope(
  json: Json,
  top: Reader,
  sizes: Sizes,
): { ropeTheta: number; ropeScaling: RopeScaling | null } {
  const key = effectiveRopeKey(json);
  const rope = json[key] ?? {};
  if (!isJson(rope)) {
    top.problems.push(`${key}: wanted an object or null, found ${showValue(rope)}`);
    return { ropeTheta: Number.NaN, ropeScaling: null };
  }
  const reader = new Reader(rope, `${key}.`);
  const ropeTheta = rope.rope_theta === undefined ? top.positive('rope_theta', 10000) : reader.positive('rope_theta');
  const type = rope.rope_type ?? rope.type ?? 'default';
  const ropeScaling = type === 'default' ? null : parseScaling(type, json, key, reader, sizes);
  const partial = rope.partial_rotary_factor ?? (ropeScaling === null ? 1 : json.partial_rotary_factor) ?? 1;
  if (partial !== 1) reader.problems.push(`${key}.partial_rotary_factor: wanted 1, found ${showValue(partial)}`);
  top.problems.push(...reader.problems);
  return { ropeTheta, ropeScaling };
}

function parseScaling(type: unknown, json: Json, key: string, reader: Reader, sizes: Sizes): RopeScaling | null {
  const originalMaxPositionEmbeddings = () =>
    json.original_max_position_embeddings == null
      ? reader.count('original_max_position_embeddings', sizes.maxPositionEmbeddings)
      : new Reader(json).count('original_max_position_embeddings');
  switch (type) {
    case 'linear':
      return { ropeType: 'linear', factor: reader.positive('factor') };
    case 'dynamic':
      if (sizes.headDim <= 2) {
        reader.problems.push(`${key}.rope_type: 'dynamic' needs a head_dim of more than 2, found ${sizes.headDim}`);
      }
      return {
        ropeType: 'dynamic',
        factor: reader.positive('factor'),
        maxPositionEmbeddings: sizes.maxPositionEmbeddings,
      };
    case 'yarn':
      return parseYarn(reader, originalMaxPositionEmbeddings(), sizes);
    case 'llama3': {
      const scaling: Llama3RopeScaling = {
        ropeType: 'llama3',
        factor: reader.positive('factor'),
        lowFreqFactor: reader.positive('low_freq_factor'),
        highFreqFactor: reader.positive('high_freq_factor'),
        originalMaxPositionEmbeddings: originalMaxPositionEmbeddings(),
      };
      if (scaling.highFreqFactor <= scaling.lowFreqFactor) {
        reader.problems.push(
          `${key}.high_freq_factor: wanted more than low_freq_factor (${scaling.lowFreqFactor}), found ${scaling.highFreqFactor}`,
        );
      }
      return scaling;
    }
    default:
      reader.problems.push(
        `${key}.rope_type: wanted 'default', 'linear', 'dynamic', 'yarn' or 'llama3', found ${showValue(type)}; other scalings are not computed here`,
      );
      return null;
  }
}

function parseYarn(reader: Reader, original: number, { maxPositionEmbeddings }: Sizes): YarnRopeScaling {
  // `factor: null` is said, a missing factor is an error, as in transformers.
  const isNull = reader.value('factor') === null;
  const factor = isNull ? maxPositionEmbeddings / original : reader.positive('factor');
  const optional = (key: string) => (reader.value(key) == null ? null : reader.positive(key));
  const [mscale, mscaleAllDim] = [orZero(reader, 'mscale'), orZero(reader, 'mscale_all_dim')];
  const stretched = (by: number) => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  return {
    ropeType: 'yarn',
    factor,
    originalMaxPositionEmbeddings: original,
    betaFast: orZero(reader, 'beta_fast') || 32,
    betaSlow: orZero(reader, 'beta_slow') || 1,
    truncate: reader.boolean('truncate', true),
    attentionFactor:
      optional('attention_factor') ??
      (mscale && mscaleAllDim ? stretched(mscale) / stretched(mscaleAllDim) : stretched(1)),
  };
}

/** A number that counts as not given where it is 0 or null. */
function orZero(reader: Reader, key: string): number {
  return reader.number(key, 0, 'a number, 0 or more', (n) => Number.isFinite(n) && n >= 0);
}

/** `rope_scaling` of a config, in the dialect that every version of transformers reads. */
export function ropeScalingJson(scaling: RopeScaling): Record<string, unknown> {
  switch (scaling.ropeType) {
    case 'linear':
    case 'dynamic':
      return { factor: scaling.factor, rope_type: scaling.ropeType };
    case 'yarn':
      return {
        attention_factor: scaling.attentionFactor,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        factor: scaling.factor,
        original_max_position_embeddings: scaling.originalMaxPositionEmbeddings,
        rope_type: 'yarn',
        truncate: scaling.truncate,
      };
    case 'llama3':
      return {
        factor: scaling.factor,
        high_freq_factor: scaling.highFreqFactor,
        low_freq_factor: scaling.lowFreqFactor,
        original_max_position_embeddings: scaling.originalMaxPositionEmbeddings,
        rope_type: 'llama3',
      };
  }
}
