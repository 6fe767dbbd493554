// y[b, ·] = the mean of the rows of sequence b. `starts` has one more than there are sequences; `rows` the row of each token.
//+ place
struct Params { size: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> starts: array<i32>;
@group(0) @binding(3) var<storage, read> rows: array<i32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  let b = i / params.width;
  let start = starts[b];
  let end = starts[b + 1];
  var sum = 0.0;
  for (var token = start; token < end; token++) {
    sum += x[u32(rows[token]) * params.width + i % params.width];
  }
  y[i] = select(0.0, sum / f32(end - start), end > start);
}
