// Causal attention, softmax(q · kᵀ · scale) · v, a block of queries of one head a workgroup: keys go by in blocks, and what was summed is scaled down
// where a larger score comes (flash attention, arXiv:2205.14135). Kept for the gradient: log Σ exp of each query's scores.
//+ attention
//+ attention-keys
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> sequenceStarts: array<i32>;
@group(0) @binding(5) var<storage, read> rowOfToken: array<i32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> logSums: array<f32>;

var<workgroup> queries: array<vec4<f32>, BLOCK * PITCH>;
// Keys, then values.
var<workgroup> others: array<vec4<f32>, BLOCK * PITCH>;
// By key, quads of queries.
var<workgroup> scores: array<vec4<f32>, BLOCK * (SIDE + 1)>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block = blockOf(group.x);
  let head = group.y;
  let kvHead = head / (params.heads / params.kvHeads);
  let x = lane % SIDE;
  let row = lane / SIDE;
  for (var task = lane; task < BLOCK * HEAD_QUADS; task += THREADS) {
    let token = block.first + task / HEAD_QUADS;
    var values = vec4<f32>();
    if (token < block.end) { values = quadOfQ(token, head, task % HEAD_QUADS); }
    queries[task / HEAD_QUADS * PITCH + task % HEAD_QUADS] = values;
  }
  var sums: array<array<vec4<f32>, OWN_QUADS>, 4>;
  // Of the four queries 4 · row to 4 · row + 3: the largest score so far, and Σ exp(score − largest).
  var most = vec4<f32>(-1e30);
  var total = vec4<f32>();
  let end = min(block.end, block.first + BLOCK);
  for (var since = block.start + group.z * BLOCK; since < end; since += BLOCK * params.splits) {
    workgroupBarrier();
    fetchKeys(since, block.end, kvHead, lane);
    workgroupBarrier();
    // Of keys x, x + SIDE, …, so that threads beside each other read rows beside each other.
    // Said outright: what a declaration in a loop leaves unsaid kept its numbers from the last round (Dawn of webgpu 0.6.2 on SwiftShader).
    var own = array<vec4<f32>, 4>();
    for (var quad = 0u; quad < HEAD_QUADS; quad++) {
      let q0 = queries[(4 * row) * PITCH + quad];
      let q1 = queries[(4 * row + 1) * PITCH + quad];
      let q2 = queries[(4 * row + 2) * PITCH + quad];
      let q3 = queries[(4 * row + 3) * PITCH + quad];
      for (var j = 0u; j < 4; j++) {
        let key = others[(x + j * SIDE) * PITCH + quad];
        own[j] += vec4(dot(q0, key), dot(q1, key), dot(q2, key), dot(q3, key));
      }
    }
    let query = vec4<u32>(0, 1, 2, 3) + block.first + 4 * row;
    for (var j = 0u; j < 4; j++) {
      let key = since + x + j * SIDE;
      let seen = (vec4<u32>(key) <= query) & vec4<bool>(key < block.end);
      own[j] = select(vec4<f32>(-1e30), own[j] * params.scale, seen);
      scores[(x + j * SIDE) * (SIDE + 1) + row] = own[j];
    }
    workgroupBarrier();
    var largest = most;
    for (var key = 0u; key < BLOCK; key++) { largest = max(largest, scores[key * (SIDE + 1) + row]); }
    workgroupBarrier();
    for (var j = 0u; j < 4; j++) {
      // exp of a score that is not seen is 0, but in rows past the sequence's end, which nobody reads.
      scores[(x + j * SIDE) * (SIDE + 1) + row] = exp(own[j] - largest);
    }
    let shrink = exp(most - largest);
    most = largest;
    total *= shrink;
    for (var n = 0u; n < OWN_QUADS; n++) {
      sums[0][n] *= shrink.x;
      sums[1][n] *= shrink.y;
      sums[2][n] *= shrink.z;
      sums[3][n] *= shrink.w;
    }
    fetchValues(since, block.end, kvHead, lane);
    workgroupBarrier();
    for (var key = 0u; key < BLOCK; key++) {
      let p = scores[key * (SIDE + 1) + row];
      total += p;
      for (var n = 0u; n < OWN_QUADS; n++) {
        if (x + n * SIDE < HEAD_QUADS) {
          let value = others[key * PITCH + x + n * SIDE];
          sums[0][n] += p.x * value;
          sums[1][n] += p.y * value;
          sums[2][n] += p.z * value;
          sums[3][n] += p.w * value;
        }
      }
    }
  }
  for (var i = 0u; i < 4; i++) {
    let token = block.first + 4 * row + i;
    if (token >= block.end) { break; }
    let at = (group.z * params.tokens + u32(rowOfToken[token])) * params.heads + head;
    // Without keys in this split the total is 0, and so are the sums.
    let share = select(0.0, 1.0 / total[i], total[i] > 0.0);
    if (x == 0) { logSums[at] = select(-1e30, most[i] + log(total[i]), total[i] > 0.0); }
    for (var n = 0u; n < OWN_QUADS; n++) {
      for (var j = 0u; j < 4; j++) {
        let d = 4 * (x + n * SIDE) + j;
        if (d < HEAD_DIM) { y[at * HEAD_DIM + d] = sums[i][n][j] * share; }
      }
    }
  }
}
