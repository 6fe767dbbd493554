// y[t, indices[j]] = x[t, j], and 0 in the other columns.
//+ place
//+ kept
struct Params { size: u32, kept: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  let place = placeAmong(i32(i % params.width), params.kept);
  var value = 0.0;
  if (place < params.kept) { value = x[i / params.width * params.kept + place]; }
  y[i] = value;
}
