// dq of a block of queries of one head: with p = exp(score − log Σ exp) and ds = p · (dy · v − Σ dy · y), dq = scale · ds · k.
//+ attention
//+ attention-dy
//+ attention-keys
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> rows: array<f32>;
@group(0) @binding(6) var<storage, read> sequenceStarts: array<i32>;
@group(0) @binding(7) var<storage, read> rowOfToken: array<i32>;
@group(0) @binding(8) var<storage, read_write> dq: array<f32>;

var<workgroup> queries: array<vec4<f32>, BLOCK * PITCH>;
var<workgroup> dys: array<vec4<f32>, BLOCK * PITCH>;
// Keys, values, and keys again.
var<workgroup> others: array<vec4<f32>, BLOCK * PITCH>;
// ds by key, quads of queries.
var<workgroup> slopes: array<vec4<f32>, BLOCK * (SIDE + 1)>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block = blockOf(group.x);
  let head = group.y;
  let kvHead = head / (params.heads / params.kvHeads);
  let x = lane % SIDE;
  let row = lane / SIDE;
  for (var task = lane; task < BLOCK * HEAD_QUADS; task += THREADS) {
    let token = block.first + task / HEAD_QUADS;
    let quad = task % HEAD_QUADS;
    var query = vec4<f32>();
    var slope = vec4<f32>();
    if (token < block.end) {
      query = quadOfQ(token, head, quad);
      slope = quadOfDy(token, head, quad);
    }
    queries[task / HEAD_QUADS * PITCH + quad] = query;
    dys[task / HEAD_QUADS * PITCH + quad] = slope;
  }
  var logSum = vec4<f32>();
  var delta = vec4<f32>();
  for (var i = 0u; i < 4; i++) {
    let token = block.first + 4 * row + i;
    if (token < block.end) {
      let at = u32(rowOfToken[token]) * params.heads + head;
      logSum[i] = rows[at];
      delta[i] = rows[params.tokens * params.heads + at];
    }
  }
  var sums: array<array<vec4<f32>, OWN_QUADS>, 4>;
  let end = min(block.end, block.first + BLOCK);
  for (var since = block.start + group.z * BLOCK; since < end; since += BLOCK * params.splits) {
    workgroupBarrier();
    fetchKeys(since, block.end, kvHead, lane);
    workgroupBarrier();
    // Said outright: what a declaration in a loop leaves unsaid kept its numbers from the last round (Dawn of webgpu 0.6.2 on SwiftShader).
    var p = array<vec4<f32>, 4>();
    var ds = array<vec4<f32>, 4>();
    for (var quad = 0u; quad < HEAD_QUADS; quad++) {
      let q0 = queries[(4 * row) * PITCH + quad];
      let q1 = queries[(4 * row + 1) * PITCH + quad];
      let q2 = queries[(4 * row + 2) * PITCH + quad];
      let q3 = queries[(4 * row + 3) * PITCH + quad];
      for (var j = 0u; j < 4; j++) {
        let key = others[(x + j * SIDE) * PITCH + quad];
        p[j] += vec4(dot(q0, key), dot(q1, key), dot(q2, key), dot(q3, key));
      }
    }
    workgroupBarrier();
    fetchValues(since, block.end, kvHead, lane);
    workgroupBarrier();
    for (var quad = 0u; quad < HEAD_QUADS; quad++) {
      let d0 = dys[(4 * row) * PITCH + quad];
      let d1 = dys[(4 * row + 1) * PITCH + quad];
      let d2 = dys[(4 * row + 2) * PITCH + quad];
      let d3 = dys[(4 * row + 3) * PITCH + quad];
      for (var j = 0u; j < 4; j++) {
        let value = others[(x + j * SIDE) * PITCH + quad];
        ds[j] += vec4(dot(d0, value), dot(d1, value), dot(d2, value), dot(d3, value));
      }
    }
    let query = vec4<u32>(0, 1, 2, 3) + block.first + 4 * row;
    for (var j = 0u; j < 4; j++) {
      let key = since + x + j * SIDE;
      let seen = (vec4<u32>(key) <= query) & vec4<bool>(key < block.end);
      // Of a score that is not seen exp might overflow: it is not looked at.
      let probability = select(vec4<f32>(), exp(p[j] * params.scale - logSum), seen);
      slopes[(x + j * SIDE) * (SIDE + 1) + row] = probability * (ds[j] - delta);
    }
    workgroupBarrier();
    fetchKeys(since, block.end, kvHead, lane);
    workgroupBarrier();
    for (var key = 0u; key < BLOCK; key++) {
      let slope = slopes[key * (SIDE + 1) + row];
      for (var n = 0u; n < OWN_QUADS; n++) {
        if (x + n * SIDE < HEAD_QUADS) {
          let value = others[key * PITCH + x + n * SIDE];
          sums[0][n] += slope.x * value;
          sums[1][n] += slope.y * value;
          sums[2][n] += slope.z * value;
          sums[3][n] += slope.w * value;
        }
      }
    }
  }
  for (var i = 0u; i < 4; i++) {
    let token = block.first + 4 * row + i;
    if (token >= block.end) { break; }
    let at = ((group.z * params.tokens + u32(rowOfToken[token])) * params.heads + head) * HEAD_DIM;
    for (var n = 0u; n < OWN_QUADS; n++) {
      for (var j = 0u; j < 4; j++) {
        let d = 4 * (x + n * SIDE) + j;
        if (d < HEAD_DIM) { dq[at + d] = params.scale * sums[i][n][j]; }
      }
    }
  }
}
