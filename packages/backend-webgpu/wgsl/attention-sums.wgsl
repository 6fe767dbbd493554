// What both kernels of the gradient want of a row and head: log Σ exp of its scores, then, behind all of those, Σ dy · y.
struct Params { size: u32, headDim: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> logSums: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.size) { return; }
  var sum = 0.0;
  for (var d = 0u; d < params.headDim; d++) { sum += y[id.x * params.headDim + d] * dy[id.x * params.headDim + d]; }
  rows[id.x] = logSums[id.x];
  rows[params.size + id.x] = sum;
}
