// dk and dv of a block of keys of one key/value head, from the queries behind them of one of the heads that share it, and one split of those: what all of them
// give is added up afterwards. dv = pᵀ · dy, dk = scale · dsᵀ · q, with p and ds as in attention-grad-q.wgsl.
//+ attention
//+ attention-dy
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> rows: array<f32>;
@group(0) @binding(6) var<storage, read> sequenceStarts: array<i32>;
@group(0) @binding(7) var<storage, read> rowOfToken: array<i32>;
// dk, as often as there are parts, then dv.
@group(0) @binding(8) var<storage, read_write> made: array<f32>;

var<workgroup> keys: array<vec4<f32>, BLOCK * PITCH>;
var<workgroup> values: array<vec4<f32>, BLOCK * PITCH>;
// Queries, dy, and queries again.
var<workgroup> others: array<vec4<f32>, BLOCK * PITCH>;
// p, then ds, by query, quads of keys.
var<workgroup> shares: array<vec4<f32>, BLOCK * (SIDE + 1)>;

fn fetchQueries(since: u32, end: u32, head: u32, lane: u32) {
  for (var task = lane; task < BLOCK * HEAD_QUADS; task += THREADS) {
    let token = since + task / HEAD_QUADS;
    var values = vec4<f32>();
    if (token < end) { values = quadOfQ(token, head, task % HEAD_QUADS); }
    others[task / HEAD_QUADS * PITCH + task % HEAD_QUADS] = values;
  }
}
fn fetchDys(since: u32, end: u32, head: u32, lane: u32) {
  for (var task = lane; task < BLOCK * HEAD_QUADS; task += THREADS) {
    let token = since + task / HEAD_QUADS;
    var values = vec4<f32>();
    if (token < end) { values = quadOfDy(token, head, task % HEAD_QUADS); }
    others[task / HEAD_QUADS * PITCH + task % HEAD_QUADS] = values;
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block = blockOf(group.x);
  let kvHead = group.y;
  let sharing = params.heads / params.kvHeads;
  let x = lane % SIDE;
  let row = lane / SIDE;
  for (var task = lane; task < BLOCK * HEAD_QUADS; task += THREADS) {
    let token = block.first + task / HEAD_QUADS;
    let quad = task % HEAD_QUADS;
    var key = vec4<f32>();
    var value = vec4<f32>();
    if (token < block.end) {
      key = quadOfK(token, kvHead, quad);
      value = quadOfV(token, kvHead, quad);
    }
    keys[task / HEAD_QUADS * PITCH + quad] = key;
    values[task / HEAD_QUADS * PITCH + quad] = value;
  }
  var ofK: array<array<vec4<f32>, OWN_QUADS>, 4>;
  var ofV: array<array<vec4<f32>, OWN_QUADS>, 4>;
  let head = kvHead * sharing + group.z / params.splits;
  for (var since = block.first + group.z % params.splits * BLOCK; since < block.end; since += BLOCK * params.splits) {
    workgroupBarrier();
    fetchQueries(since, block.end, head, lane);
    workgroupBarrier();
    // Of queries x, x + SIDE, … and keys 4 · row to 4 · row + 3.
    // Said outright: what a declaration in a loop leaves unsaid kept its numbers from the last round (Dawn of webgpu 0.6.2 on SwiftShader).
    var p = array<vec4<f32>, 4>();
    var ds = array<vec4<f32>, 4>();
    for (var quad = 0u; quad < HEAD_QUADS; quad++) {
      let k0 = keys[(4 * row) * PITCH + quad];
      let k1 = keys[(4 * row + 1) * PITCH + quad];
      let k2 = keys[(4 * row + 2) * PITCH + quad];
      let k3 = keys[(4 * row + 3) * PITCH + quad];
      for (var j = 0u; j < 4; j++) {
        let query = others[(x + j * SIDE) * PITCH + quad];
        p[j] += vec4(dot(k0, query), dot(k1, query), dot(k2, query), dot(k3, query));
      }
    }
    workgroupBarrier();
    fetchDys(since, block.end, head, lane);
    workgroupBarrier();
    for (var quad = 0u; quad < HEAD_QUADS; quad++) {
      let v0 = values[(4 * row) * PITCH + quad];
      let v1 = values[(4 * row + 1) * PITCH + quad];
      let v2 = values[(4 * row + 2) * PITCH + quad];
      let v3 = values[(4 * row + 3) * PITCH + quad];
      for (var j = 0u; j < 4; j++) {
        let slope = others[(x + j * SIDE) * PITCH + quad];
        ds[j] += vec4(dot(v0, slope), dot(v1, slope), dot(v2, slope), dot(v3, slope));
      }
    }
    let key = vec4<u32>(0, 1, 2, 3) + block.first + 4 * row;
    for (var j = 0u; j < 4; j++) {
      let query = since + x + j * SIDE;
      var probability = vec4<f32>();
      var slope = vec4<f32>();
      if (query < block.end) {
        let at = u32(rowOfToken[query]) * params.heads + head;
        let seen = (key <= vec4<u32>(query)) & (key < vec4<u32>(block.end));
        probability = select(vec4<f32>(), exp(p[j] * params.scale - rows[at]), seen);
        slope = probability * (ds[j] - rows[params.tokens * params.heads + at]);
      }
      shares[(x + j * SIDE) * (SIDE + 1) + row] = probability;
      ds[j] = slope;
    }
    workgroupBarrier();
    for (var query = 0u; query < BLOCK; query++) {
      let share = shares[query * (SIDE + 1) + row];
      for (var n = 0u; n < OWN_QUADS; n++) {
        if (x + n * SIDE < HEAD_QUADS) {
          let slope = others[query * PITCH + x + n * SIDE];
          ofV[0][n] += share.x * slope;
          ofV[1][n] += share.y * slope;
          ofV[2][n] += share.z * slope;
          ofV[3][n] += share.w * slope;
        }
      }
    }
    workgroupBarrier();
    for (var j = 0u; j < 4; j++) { shares[(x + j * SIDE) * (SIDE + 1) + row] = ds[j]; }
    fetchQueries(since, block.end, head, lane);
    workgroupBarrier();
    for (var query = 0u; query < BLOCK; query++) {
      let share = shares[query * (SIDE + 1) + row];
      for (var n = 0u; n < OWN_QUADS; n++) {
        if (x + n * SIDE < HEAD_QUADS) {
          let found = others[query * PITCH + x + n * SIDE];
          ofK[0][n] += share.x * found;
          ofK[1][n] += share.y * found;
          ofK[2][n] += share.z * found;
          ofK[3][n] += share.w * found;
        }
      }
    }
  }
  let ofValues = sharing * params.splits * params.tokens * params.kvHeads * HEAD_DIM;
  for (var i = 0u; i < 4; i++) {
    let token = block.first + 4 * row + i;
    if (token >= block.end) { break; }
    let at = ((group.z * params.tokens + u32(rowOfToken[token])) * params.kvHeads + kvHead) * HEAD_DIM;
    for (var n = 0u; n < OWN_QUADS; n++) {
      for (var j = 0u; j < 4; j++) {
        let d = 4 * (x + n * SIDE) + j;
        if (d < HEAD_DIM) {
          made[at + d] = params.scale * ofK[i][n][j];
          made[ofValues + at + d] = ofV[i][n][j];
        }
      }
    }
  }
}
