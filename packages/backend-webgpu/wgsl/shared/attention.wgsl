// Blocks of queries and keys of causal attention. A workgroup has (BLOCK / 4)² threads, each of which makes 4 × 4 scores of a block.
//
// `sequenceStarts` and `rowOfToken` are the layout's own, so that a recorded step finds those of its batch there: which sequence a block is of is counted here.
// A block meets the others of its sequence in `splits` workgroups, of which each has every so manieth and writes a result of its own.
struct Params { tokens: u32, heads: u32, kvHeads: u32, scale: f32, splits: u32, sequences: u32 }

// A power of two; the head size in quads, where the last may be filled up with zeros.
override BLOCK: u32 = 32;
override HEAD_DIM: u32 = 64;
const SIDE: u32 = BLOCK / 4;
const THREADS: u32 = SIDE * SIDE;
const HEAD_QUADS: u32 = (HEAD_DIM + 3) / 4;
// Quads of a row that a thread has, every SIDE-th.
const OWN_QUADS: u32 = (HEAD_QUADS + SIDE - 1) / SIDE;
const PITCH: u32 = HEAD_QUADS + 1;

struct Block { start: u32, end: u32, first: u32 }

// The last blocks are of no sequence, and begin at their end.
fn blockOf(number: u32) -> Block {
  var left = number;
  for (var sequence = 0u; sequence < params.sequences; sequence++) {
    let start = u32(sequenceStarts[sequence]);
    let end = u32(sequenceStarts[sequence + 1]);
    let blocks = (end - start + BLOCK - 1) / BLOCK;
    if (left < blocks) { return Block(start, end, start + left * BLOCK); }
    left -= blocks;
  }
  return Block(params.tokens, params.tokens, params.tokens);
}

// Four numbers of a token's row of a head; what is behind its last is 0.
fn quadOfQ(token: u32, head: u32, quad: u32) -> vec4<f32> {
  let at = (u32(rowOfToken[token]) * params.heads + head) * HEAD_DIM + 4 * quad;
  var values = vec4<f32>();
  for (var i = 0u; i < 4; i++) { if (4 * quad + i < HEAD_DIM) { values[i] = q[at + i]; } }
  return values;
}
fn quadOfK(token: u32, head: u32, quad: u32) -> vec4<f32> {
  let at = (u32(rowOfToken[token]) * params.kvHeads + head) * HEAD_DIM + 4 * quad;
  var values = vec4<f32>();
  for (var i = 0u; i < 4; i++) { if (4 * quad + i < HEAD_DIM) { values[i] = k[at + i]; } }
  return values;
}
fn quadOfV(token: u32, head: u32, quad: u32) -> vec4<f32> {
  let at = (u32(rowOfToken[token]) * params.kvHeads + head) * HEAD_DIM + 4 * quad;
  var values = vec4<f32>();
  for (var i = 0u; i < 4; i++) { if (4 * quad + i < HEAD_DIM) { values[i] = v[at + i]; } }
  return values;
}
