// y = x, and 0 in the columns that are not kept, from row `fromRow` on.
//+ place
//+ kept
struct Params { size: u32, kept: u32, width: u32, fromRow: u32 }
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
  var value = x[i];
  if (i / params.width >= params.fromRow && placeAmong(i32(i % params.width), params.kept) == params.kept) { value = 0.0; }
  y[i] = value;
}
