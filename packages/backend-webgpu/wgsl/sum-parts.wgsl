// y = the sum over parts of partial products, in their order, and c's former numbers where they are to be added to; bias by column.
//+ place
struct Params { size: u32, parts: u32, columns: u32, yRow: u32, yOffset: u32, xOffset: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

override ACCUMULATE: bool = false;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  var sum = 0.0;
  for (var part = 0u; part < params.parts; part++) { sum += x[params.xOffset + part * params.size + i]; }
  let at = params.yOffset + i / params.columns * params.yRow + i % params.columns;
  if (ACCUMULATE) { sum += y[at]; }
  y[at] = sum;
}
