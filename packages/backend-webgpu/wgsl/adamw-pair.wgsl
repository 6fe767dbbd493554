// A step of AdamW of two parameters, one of them by z: adapters are many small ones, and each dispatch costs.
//+ place
//+ adamw
struct Params {
  size: u32, decay: f32, beta1: f32, beta2: f32, rest1: f32, rest2: f32, epsilon: f32, stepSize: f32, rootCorrection: f32,
  otherSize: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradientScale: array<f32>;
@group(0) @binding(2) var<storage, read> gradient0: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameter0: array<f32>;
@group(0) @binding(4) var<storage, read_write> first0: array<f32>;
@group(0) @binding(5) var<storage, read_write> second0: array<f32>;
@group(0) @binding(6) var<storage, read> gradient1: array<f32>;
@group(0) @binding(7) var<storage, read_write> parameter1: array<f32>;
@group(0) @binding(8) var<storage, read_write> first1: array<f32>;
@group(0) @binding(9) var<storage, read_write> second1: array<f32>;
// What differs from step to step, where a recorded step has it: decay, stepSize, rootCorrection.
@group(0) @binding(10) var<storage, read> recorded: array<f32>;

override SCALED: bool = false;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  var scale = 1.0;
  if (SCALED) { scale = gradientScale[0]; }
  if (group.z == 0) {
    if (i >= params.size) { return; }
    let made = updated(numbers(), parameter0[i], gradient0[i] * scale, first0[i], second0[i]);
    parameter0[i] = made.parameter;
    first0[i] = made.first;
    second0[i] = made.second;
  } else {
    if (i >= params.otherSize) { return; }
    let made = updated(numbers(), parameter1[i], gradient1[i] * scale, first1[i], second1[i]);
    parameter1[i] = made.parameter;
    first1[i] = made.first;
    second1[i] = made.second;
  }
}
