// y[j, i] = x[i, j], by tiles, so that both are read and written along their rows.
struct Params { rows: u32, columns: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

var<workgroup> tile: array<u32, 16 * 17>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let row = group.y * 16 + local.y;
  let column = group.x * 16 + local.x;
  if (row < params.rows && column < params.columns) { tile[local.y * 17 + local.x] = x[row * params.columns + column]; }
  workgroupBarrier();
  let to = group.x * 16 + local.y;
  let at = group.y * 16 + local.x;
  if (to < params.columns && at < params.rows) { y[to * params.rows + at] = tile[local.x * 17 + local.y]; }
}
