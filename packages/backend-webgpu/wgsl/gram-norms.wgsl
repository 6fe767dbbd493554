// y[j] = √(b[·, j]ᵀ · gram · b[·, j]) with gram [r, r]; rounding may leave a zero norm slightly below zero.
struct Params { rank: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gram: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let j = id.x;
  if (j >= params.width) { return; }
  var sum = 0.0;
  for (var r = 0u; r < params.rank; r++) {
    var inner = 0.0;
    for (var s = 0u; s < params.rank; s++) { inner += gram[r * params.rank + s] * b[s * params.width + j]; }
    sum += b[r * params.width + j] * inner;
  }
  y[j] = sqrt(max(sum, 0.0));
}
