// y[r, ·] = x[rows[r], ·], zeros where a row is below 0: of none.
//+ place
//+ stored
struct Params { size: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// How x is stored.
override X_STORED: u32 = 0;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  let row = rows[i / params.width];
  var value = 0.0;
  if (row >= 0) {
    let at = u32(row) * params.width + i % params.width;
    value = bitcast<f32>(bitsOf(X_STORED, x[wordOf(X_STORED, at)], at));
  }
  y[i] = value;
}
