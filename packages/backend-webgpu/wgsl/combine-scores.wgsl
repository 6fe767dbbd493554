// score[h·d + i] = mean over the group's query heads of scoreQ, times scoreK.
struct Params { size: u32, headDim: u32, heads: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scoreQ: array<f32>;
@group(0) @binding(2) var<storage, read> scoreK: array<f32>;
@group(0) @binding(3) var<storage, read_write> score: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.size) { return; }
  let head = id.x / params.headDim;
  let i = id.x % params.headDim;
  var sum = 0.0;
  for (var g = 0u; g < params.heads; g++) { sum += scoreQ[(head * params.heads + g) * params.headDim + i]; }
  score[id.x] = sum / f32(params.heads) * scoreK[id.x];
}
