// Dimension i of a head turns with dimension i + d/2 by the angle of its row, or back where SIGN is −1.
//+ place
struct Params { pairs: u32, half: u32, heads: u32, sign: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let pair = placeOf(group, groups, lane);
  if (pair >= params.pairs) { return; }
  let i = pair % params.half;
  let head = pair / params.half;
  let first = head * 2 * params.half + i;
  let second = first + params.half;
  let angle = head / params.heads * params.half + i;
  let cosine = cosines[angle];
  let sine = params.sign * sines[angle];
  y[first] = x[first] * cosine - x[second] * sine;
  y[second] = x[second] * cosine + x[first] * sine;
}
