// Each element whose hash, as a signed number, is below the bound becomes 0, the others are multiplied: the mask of kernels/host/dropout.ts.
//+ place
struct Params { size: u32, before: u32, within: u32, dropBelow: i32, factor: f32, seedAt: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
// Seeds of a recorded step.
@group(0) @binding(3) var<storage, read> seeds: array<u32>;

override RECORDED: bool = false;

// lowbias32 (Wellons 2018).
fn spread(seed: u32) -> u32 {
  var h = (seed ^ (seed >> 16)) * 0x7feb352du;
  h = (h ^ (h >> 15)) * 0x846ca68bu;
  return h ^ (h >> 16);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  var before = params.before;
  var within = params.within;
  if (RECORDED) {
    before = spread(seeds[params.seedAt]);
    within = spread(before ^ 0x9e3779b9u);
  }
  var hash = i ^ before;
  hash = (hash ^ (hash >> 16)) * 0x7feb352du + within;
  hash = (hash ^ (hash >> 15)) * 0x846ca68bu;
  hash ^= hash >> 16;
  var value = x[i] * params.factor;
  if (bitcast<i32>(hash) < params.dropBelow) { value = 0.0; }
  y[i] = value;
}
