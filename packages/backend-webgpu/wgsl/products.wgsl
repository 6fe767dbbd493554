// Up to three products in one dispatch, each with matrices of its own, or their sum: what layers that read the same input have to multiply. The
// products are those of product.wgsl, without what is gathered or added there.
//+ tile
//+ stored
struct Problem {
  m: u32, n: u32, k: u32,
  aRow: u32, aColumn: u32, aOffset: u32,
  bRow: u32, bColumn: u32, bOffset: u32,
  cRow: u32, cOffset: u32,
  alpha: f32,
}
struct Params { problems: array<Problem, 3>, count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a0: array<f32>;
@group(0) @binding(2) var<storage, read> a1: array<f32>;
@group(0) @binding(3) var<storage, read> a2: array<f32>;
@group(0) @binding(4) var<storage, read> b0: array<u32>;
@group(0) @binding(5) var<storage, read> b1: array<u32>;
@group(0) @binding(6) var<storage, read> b2: array<u32>;
@group(0) @binding(7) var<storage, read_write> c0: array<f32>;
@group(0) @binding(8) var<storage, read_write> c1: array<f32>;
@group(0) @binding(9) var<storage, read_write> c2: array<f32>;

override A_ALONG_K: bool = true;
override B_ALONG_K: bool = true;
// How all b are stored.
override B_STORED: u32 = 0;
// Whether all products add up to one, of the first problem's c; they have one alpha.
override SUM: bool = false;
// Whether all products go into c0, each at its offset.
override ONE_C: bool = false;
override ACCUMULATE: bool = false;

fn numberOfA(p: u32, at: u32) -> f32 {
  switch (p) {
    case 0: { return a0[at]; }
    case 1: { return a1[at]; }
    default: { return a2[at]; }
  }
}

fn numberOfB(p: u32, at: u32) -> f32 {
  let place = wordOf(B_STORED, at);
  switch (p) {
    case 0: { return bitcast<f32>(bitsOf(B_STORED, b0[place], at)); }
    case 1: { return bitcast<f32>(bitsOf(B_STORED, b1[place], at)); }
    default: { return bitcast<f32>(bitsOf(B_STORED, b2[place], at)); }
  }
}

fn fetchA(p: u32, row: u32, k: u32) -> vec4<f32> {
  var values = vec4<f32>();
  if (k >= params.problems[p].k) { return values; }
  let at = params.problems[p].aOffset + k * params.problems[p].aColumn;
  for (var i = 0u; i < 4; i++) {
    if (row + i < params.problems[p].m) { values[i] = numberOfA(p, at + (row + i) * params.problems[p].aRow); }
  }
  return values;
}

fn fetchB(p: u32, column: u32, k: u32) -> vec4<f32> {
  var values = vec4<f32>();
  if (k >= params.problems[p].k) { return values; }
  let at = params.problems[p].bOffset + k * params.problems[p].bRow;
  for (var i = 0u; i < 4; i++) {
    if (column + i < params.problems[p].n) { values[i] = numberOfB(p, at + (column + i) * params.problems[p].bColumn); }
  }
  return values;
}

fn write(p: u32, at: u32, value: f32) {
  if (ONE_C || SUM || p == 0) {
    if (ACCUMULATE) { c0[at] += value; } else { c0[at] = value; }
  } else if (p == 1) {
    if (ACCUMULATE) { c1[at] += value; } else { c1[at] = value; }
  } else {
    if (ACCUMULATE) { c2[at] += value; } else { c2[at] = value; }
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let own = group.z;
  let rows = group.y * TILE;
  let columns = group.x * TILE;
  // The grid is as large as the largest of the products wants it.
  if (rows >= params.problems[own].m || columns >= params.problems[own].n) { return; }
  var first = own;
  var end = own + 1;
  if (SUM) {
    first = 0;
    end = params.count;
  }
  let x = lane % QUADS;
  let y = lane / QUADS;
  var sums: array<vec4<f32>, 4>;
  var aNext: array<vec4<f32>, FETCHES>;
  var bNext: array<vec4<f32>, FETCHES>;
  for (var p = first; p < end; p++) {
    let k = params.problems[p].k;
    for (var f = 0u; f < FETCHES; f++) {
      let aTask = taskOf(lane + f * THREADS, A_ALONG_K);
      let bTask = taskOf(lane + f * THREADS, B_ALONG_K);
      aNext[f] = fetchA(p, rows + 4 * aTask.x, aTask.y);
      bNext[f] = fetchB(p, columns + 4 * bTask.x, bTask.y);
    }
    for (var at = 0u; at < k; at += STEP) {
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
        aNext[f] = fetchA(p, rows + 4 * aTask.x, at + STEP + aTask.y);
        bNext[f] = fetchB(p, columns + 4 * bTask.x, at + STEP + bTask.y);
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
  }
  let alpha = params.problems[own].alpha;
  for (var i = 0u; i < 4; i++) {
    let row = rows + 4 * y + i;
    if (row >= params.problems[own].m) { break; }
    for (var j = 0u; j < 4; j++) {
      let column = columns + 4 * x + j;
      if (column >= params.problems[own].n) { break; }
      write(own, params.problems[own].cOffset + row * params.problems[own].cRow + column, alpha * sums[i][j]);
    }
  }
}
