/**
 * @file What llama.cpp calls a Llama's tensors, and in which order it has the rows of q and k. Its RoPE turns neighbouring elements of a head where
 * transformers' turns elements half a head apart, so that the rows of q and k, and their biases, are written in another order (`permute` of
 * convert_hf_to_gguf.py).
 */

const PARTS: readonly (readonly [huggingFace: string, llamaCpp: string])[] = [
  ['input_layernorm', 'attn_norm'],
  ['self_attn.q_proj', 'attn_q'],
  ['self_attn.k_proj', 'attn_k'],
  ['self_attn.v_proj', 'attn_v'],
  ['self_attn.o_proj', 'attn_output'],
  ['post_attention_layernorm', 'ffn_norm'],
  ['mlp.gate_proj', 'ffn_gate'],
  ['mlp.up_proj', 'ffn_up'],
  ['mlp.down_proj', 'ffn_down'],
];

const WHOLE: readonly (readonly [huggingFace: string, llamaCpp: string])[] = [
  ['model.embed_tokens', 'token_embd'],
  ['model.norm', 'output_norm'],
  ['lm_head', 'output'],
];

const toLlamaCpp = new Map(PARTS);
const toHuggingFace = new Map(PARTS.map(([ours, theirs]) => [theirs, ours]));
const wholeToLlamaCpp = new Map(WHOLE);
const wholeToHuggingFace = new Map(WHOLE.map(([ours, theirs]) => [theirs, ours]));

/** llama.cpp's name of a tensor or module of a checkpoint (`model.layers.0.mlp.up_proj.weight`, with or without the last part); undefined where it has none. */
export function ggufName(name: string): string | undefined {
  const [, stem = name, suffix = ''] = /^(.*?)(\.(?:weight|bias))?$/s.exec(name) ?? [];
  const layer = /^model\.layers\.(\d+)\.(.+)$/.exec(stem);
  const found = layer ? toLlamaCpp.get(layer[2]!) : wholeToLlamaCpp.get(stem);
  return found === undefined ? undefined : `${layer ? `blk.${layer[1]}.` : ''}${found}${suffix}`;
}

/** The name in a checkpoint of one of llama.cpp's tensors; undefined where it is none of a Llama's. */
export function checkpointName(name: string): string | undefined {
  const [, layer, stem, suffix] = /^(?:blk\.(\d{1,9})\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
  if (stem === undefined) return undefined;
  const found = layer === undefined ? wholeToHuggingFace.get(stem) : toHuggingFace.get(stem);
  return found === undefined
    ? undefined
    : `${layer === undefined ? '' : `model.layers.${Number(layer)}.`}${found}.${suffix}`;
}

/** Whether rows of this tensor or module are in another order in a GGUF file. */
export const hasOtherRows = (checkpointName: string): boolean =>
  /\.self_attn\.[qk]_proj(\.(weight|bias))?$/.test(checkpointName);

/** Row in the checkpoint of each row that llama.cpp has of a head: of its 2i-th the i-th, of its (2i + 1)-th the one half a head further. */
function headRows(headDim: number): Int32Array {
  return Int32Array.from({ length: headDim }, (_, row) => (row >> 1) + (row & 1) * (headDim / 2));
}

/** Rows in llama.cpp's order. @param values [heads·headDim, columns], row-major, or a bias. @returns others of the same kind. */
export function toGgufRows<T extends Float32Array | Uint8Array>(values: T, columns: number, headDim: number): T {
  const order = headRows(headDim);
  const out = values.slice() as T;
  const heads = values.length / columns / headDim;
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < headDim; row++) {
      const from = (head * headDim + order[row]!) * columns;
      out.set(values.subarray(from, from + columns), (head * headDim + row) * columns);
    }
  }
  return out;
}

/** Rows in the checkpoint's order: undoes `toGgufRows`. */
export function fromGgufRows<T extends Float32Array | Uint8Array>(values: T, columns: number, headDim: number): T {
  const order = headRows(headDim);
  const out = values.slice() as T;
  const heads = values.length / columns / headDim;
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < headDim; row++) {
      const from = (head * headDim + row) * columns;
      out.set(values.subarray(from, from + columns), (head * headDim + order[row]!) * columns);
    }
  }
  return out;
}
