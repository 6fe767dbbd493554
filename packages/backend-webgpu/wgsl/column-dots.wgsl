// y[j] = Σₜ a[t, j] · b[t, j], or its root, or that divided by a norm, 0 where the norm is; 32 columns a workgroup, 8 threads a column.
struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> norms: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

override ROOT: bool = false;
override DIVIDED: bool = false;
var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(32, 8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let j = group.x * 32 + local.x;
  var sum = 0.0;
  if (j < params.width) {
    for (var t = local.y; t < params.rows; t += 8) { sum += a[t * params.width + j] * b[t * params.width + j]; }
  }
  sums[lane] = sum;
  workgroupBarrier();
  if (local.y > 0 || j >= params.width) { return; }
  for (var part = 1u; part < 8; part++) { sum += sums[part * 32 + local.x]; }
  if (ROOT) { sum = sqrt(sum); }
  if (DIVIDED) { sum = select(sum / norms[j], 0.0, norms[j] == 0.0); }
  y[j] = sum;
}
