// SGD as PyTorch has it, with momentum or without, where parameter and momentum lie.
//+ place
struct Params { size: u32, learningRate: f32, weightDecay: f32, momentum: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read> gradientScale: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameter: array<f32>;
@group(0) @binding(4) var<storage, read_write> momentum: array<f32>;
// The learning rate, where a recorded step has it.
@group(0) @binding(5) var<storage, read> recorded: array<f32>;

override SCALED: bool = false;
override RECORDED: bool = false;
override WITH_MOMENTUM: bool = false;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  var step = gradient[i];
  if (SCALED) { step *= gradientScale[0]; }
  step += parameter[i] * params.weightDecay;
  if (WITH_MOMENTUM) {
    step += momentum[i] * params.momentum;
    momentum[i] = step;
  }
  var learningRate = params.learningRate;
  if (RECORDED) { learningRate = recorded[0]; }
  parameter[i] -= step * learningRate;
}
