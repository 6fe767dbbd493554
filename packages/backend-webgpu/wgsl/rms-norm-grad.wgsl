// The gradient of rms-norm.wgsl in x, and what x gets elsewhere where there is a residual: dx = r·w·dy − x·r³·mean(x·w·dy) + dresidual.
//+ reduce
struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read> dresidual: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;

override WITH_RESIDUAL: bool = false;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;
  var squares = 0.0;
  var dot = 0.0;
  for (var h = lane; h < params.width; h += LANES) {
    let value = x[base + h];
    squares += value * value;
    dot += value * weight[h] * dy[base + h];
  }
  let width = f32(params.width);
  let scale = inverseSqrt(sumOfLanes(lane, squares) / width + params.eps);
  let share = sumOfLanes(lane, dot) * scale * scale * scale / width;
  for (var h = lane; h < params.width; h += LANES) {
    var value = weight[h] * dy[base + h] * scale - x[base + h] * share;
    if (WITH_RESIDUAL) { value += dresidual[base + h]; }
    dx[base + h] = value;
  }
}
