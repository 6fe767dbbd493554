// Blocks of queries and keys of causal attention. A workgroup has (BLOCK / 4)² threads, each of which makes 4 × 4 scores of a block.
//
// `lists` has the row of each packed token, then for each block of tokens of a sequence: the sequence's first token, its end, the block's first.
struct Params { tokens: u32, heads: u32, kvHeads: u32, scale: f32 }

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

fn blockOf(number: u32) -> Block {
  let at = params.tokens + 3 * number;
  return Block(u32(lists[at]), u32(lists[at + 1]), u32(lists[at + 2]));
}

// Four numbers of a token's row of a head; what is behind its last is 0.
fn quadOfQ(token: u32, head: u32, quad: u32) -> vec4<f32> {
  let at = (u32(lists[token]) * params.heads + head) * HEAD_DIM + 4 * quad;
  var values = vec4<f32>();
  for (var i = 0u; i < 4; i++) { if (4 * quad + i < HEAD_DIM) { values[i] = q[at + i]; } }
  return values;
}
fn quadOfK(token: u32, head: u32, quad: u32) -> vec4<f32> {
  let at = (u32(lists[token]) * params.kvHeads + head) * HEAD_DIM + 4 * quad;
  var values = vec4<f32>();
  for (var i = 0u; i < 4; i++) { if (4 * quad + i < HEAD_DIM) { values[i] = k[at + i]; } }
  return values;
}
fn quadOfV(token: u32, head: u32, quad: u32) -> vec4<f32> {
  let at = (u32(lists[token]) * params.kvHeads + head) * HEAD_DIM + 4 * quad;
  var values = vec4<f32>();
  for (var i = 0u; i < 4; i++) { if (4 * quad + i < HEAD_DIM) { values[i] = v[at + i]; } }
  return values;
}
