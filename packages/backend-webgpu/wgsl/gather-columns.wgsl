// y[t, j] = x[t, indices[j]], or y[j, t] where TRANSPOSED.
//+ place
struct Params { size: u32, kept: u32, width: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

override TRANSPOSED: bool = false;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  let t = i / params.kept;
  let j = i % params.kept;
  let value = x[t * params.width + u32(indices[j])];
  if (TRANSPOSED) { y[j * params.rows + t] = value; } else { y[i] = value; }
}
