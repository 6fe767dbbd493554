// A step of AdamW where parameter and moments lie.
//+ place
//+ adamw
struct Params {
  size: u32, decay: f32, beta1: f32, beta2: f32, rest1: f32, rest2: f32, epsilon: f32, stepSize: f32, rootCorrection: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradientScale: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameter: array<f32>;
@group(0) @binding(4) var<storage, read_write> first: array<f32>;
@group(0) @binding(5) var<storage, read_write> second: array<f32>;
// What differs from step to step, where a recorded step has it: decay, stepSize, rootCorrection.
@group(0) @binding(6) var<storage, read> recorded: array<f32>;

override SCALED: bool = false;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  var scale = 1.0;
  if (SCALED) { scale = gradientScale[0]; }
  let made = updated(numbers(), parameter[i], gradient[i] * scale, first[i], second[i]);
  parameter[i] = made.parameter;
  first[i] = made.first;
  second[i] = made.second;
}
