// y[at + group] = Σ x, or its root, over the group's share of x; in a fixed order.
//+ reduce
struct Params { size: u32, share: u32, at: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

override ROOT: bool = false;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  let end = min(params.size, (group.x + 1) * params.share);
  for (var i = group.x * params.share + lane; i < end; i += LANES) { sum += x[i]; }
  sum = sumOfLanes(lane, sum);
  if (lane > 0) { return; }
  y[params.at + group.x] = select(sum, sqrt(sum), ROOT);
}
