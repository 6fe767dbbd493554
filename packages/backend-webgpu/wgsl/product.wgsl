// c = alpha · op(a) · op(b), with whatever is to be added on the way out. Both operands are read by strides, so that each may lie transposed;
// b's rows or columns, and a's columns, may be those that `indices` names alone. A workgroup makes a tile of c, a thread 4 × 4 of it; the next
// step's numbers are fetched while this one's are multiplied. z counts batches, and parts of k where c is small and k long.
//+ tile
//+ stored
struct Params {
  m: u32, n: u32, k: u32,
  parts: u32, partLength: u32,
  aRow: u32, aColumn: u32, aOffset: u32, aBatch: u32,
  bRow: u32, bColumn: u32, bOffset: u32, bBatch: u32,
  cRow: u32, cOffset: u32, cBatch: u32,
  addedRow: u32, addedOffset: u32,
  alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read> indices: array<i32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> added: array<f32>;
@group(0) @binding(6) var<storage, read_write> c: array<f32>;

// Whether numbers beside each other in memory are along k: which threads fetch which.
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = true;
// How b is stored.
override B_STORED: u32 = 0;
// What indices name: 0 nothing, 1 rows of op(b), 2 its columns, 3 columns of op(a) and rows of op(b), 4 columns of op(a) alone.
override GATHER: u32 = 0;
// Whether columns of c lie where indices say.
override SCATTER: bool = false;
override WITH_BIAS: bool = false;
override WITH_ADDED: bool = false;
// Whether c is added to instead of written.
override ACCUMULATE: bool = false;

fn fetchA(row: u32, k: u32, kEnd: u32, base: u32) -> vec4<f32> {
  var values = vec4<f32>();
  if (k >= kEnd) { return values; }
  var column = k;
  if (GATHER >= 3) { column = u32(indices[k]); }
  let at = base + column * params.aColumn;
  for (var i = 0u; i < 4; i++) {
    if (row + i < params.m) { values[i] = a[at + (row + i) * params.aRow]; }
  }
  return values;
}

fn numberOfB(at: u32) -> f32 {
  return bitcast<f32>(bitsOf(B_STORED, b[wordOf(B_STORED, at)], at));
}

fn fetchB(column: u32, k: u32, kEnd: u32, base: u32) -> vec4<f32> {
  var values = vec4<f32>();
  if (k >= kEnd) { return values; }
  var row = k;
  if (GATHER == 1 || GATHER == 3) { row = u32(indices[k]); }
  let at = base + row * params.bRow;
  for (var i = 0u; i < 4; i++) {
    if (column + i < params.n) {
      var since = column + i;
      if (GATHER == 2) { since = u32(indices[column + i]); }
      values[i] = numberOfB(at + since * params.bColumn);
    }
  }
  return values;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = group.z / params.parts;
  let part = group.z % params.parts;
  let kBegin = part * params.partLength;
  let kEnd = min(params.k, kBegin + params.partLength);
  let rows = group.y * TILE;
  let columns = group.x * TILE;
  let aBase = params.aOffset + batch * params.aBatch;
  let bBase = params.bOffset + batch * params.bBatch;
  let x = lane % QUADS;
  let y = lane / QUADS;
  var sums: array<vec4<f32>, 4>;
  var aNext: array<vec4<f32>, FETCHES>;
  var bNext: array<vec4<f32>, FETCHES>;
  for (var f = 0u; f < FETCHES; f++) {
    let aTask = taskOf(lane + f * THREADS, A_ALONG_K);
    let bTask = taskOf(lane + f * THREADS, B_ALONG_K);
    aNext[f] = fetchA(rows + 4 * aTask.x, kBegin + aTask.y, kEnd, aBase);
    bNext[f] = fetchB(columns + 4 * bTask.x, kBegin + bTask.y, kEnd, bBase);
  }
  for (var k = kBegin; k < kEnd; k += STEP) {
    for (var f = 0u; f < FETCHES; f++) {
      let aTask = taskOf(lane + f * THREADS, A_ALONG_K);
      let bTask = taskOf(lane + f * THREADS, B_ALONG_K);
      aTile[aTask.y * PITCH + aTask.x] = aNext[f];
      bTile[bTask.y * PITCH + bTask.x] = bNext[f];
    }
    workgroupBarrier();
    for (var f = 0u; f < FETCHES; f++) {
      let aTask = taskOf(lane + f * THREADS, A_ALONG_K);
      let bTask = taskOf(lane + f * THREADS, B_ALONG_K);
      aNext[f] = fetchA(rows + 4 * aTask.x, k + STEP + aTask.y, kEnd, aBase);
      bNext[f] = fetchB(columns + 4 * bTask.x, k + STEP + bTask.y, kEnd, bBase);
    }
    for (var i = 0u; i < STEP; i++) {
      let left = aTile[i * PITCH + y];
      let right = bTile[i * PITCH + x];
      sums[0] += left.x * right;
      sums[1] += left.y * right;
      sums[2] += left.z * right;
      sums[3] += left.w * right;
    }
    workgroupBarrier();
  }
  let cBase = params.cOffset + group.z * params.cBatch;
  for (var i = 0u; i < 4; i++) {
    let row = rows + 4 * y + i;
    if (row >= params.m) { break; }
    for (var j = 0u; j < 4; j++) {
      let column = columns + 4 * x + j;
      if (column >= params.n) { break; }
      var value = params.alpha * sums[i][j];
      var to = column;
      if (SCATTER) { to = u32(indices[column]); }
      if (WITH_BIAS) {
        if (GATHER == 2) { value += bias[indices[column]]; } else { value += bias[column]; }
      }
      if (WITH_ADDED) { value += added[params.addedOffset + row * params.addedRow + to]; }
      let at = cBase + row * params.cRow + to;
      if (ACCUMULATE) { value += c[at]; }
      c[at] = value;
    }
  }
}
