// y[t] = √Σ x[t, ·]²; a workgroup a row.
//+ reduce
struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;
  var squares = 0.0;
  for (var h = lane; h < params.width; h += LANES) { squares += x[base + h] * x[base + h]; }
  let sum = sumOfLanes(lane, squares);
  if (lane == 0) { y[row] = sqrt(sum); }
}
