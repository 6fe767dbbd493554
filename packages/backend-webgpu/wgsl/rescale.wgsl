// y[t, o] = z[t, o] · magnitude[o] / norms[o], 0 where a norm is, and a residual on top of it.
//+ place
struct Params { size: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> magnitude: array<f32>;
@group(0) @binding(3) var<storage, read> norms: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

override WITH_RESIDUAL: bool = false;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  let o = i % params.width;
  var value = 0.0;
  if (norms[o] != 0.0) { value = z[i] * (magnitude[o] / norms[o]); }
  if (WITH_RESIDUAL) { value += residual[i]; }
  y[i] = value;
}
