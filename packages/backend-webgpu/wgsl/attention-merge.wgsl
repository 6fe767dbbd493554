// The attention of splits that saw different keys of a row: y = Σ exp(log sum of the split − log sum) · y of the split, and log Σ exp of all scores.
//+ place
struct Params { size: u32, headDim: u32, splits: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ys: array<f32>;
@group(0) @binding(2) var<storage, read> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> logSums: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  let row = i / params.headDim;
  let rows = params.size / params.headDim;
  var most = sums[row];
  for (var split = 1u; split < params.splits; split++) { most = max(most, sums[split * rows + row]); }
  var total = 0.0;
  var value = 0.0;
  for (var split = 0u; split < params.splits; split++) {
    let share = exp(sums[split * rows + row] - most);
    total += share;
    value += share * ys[split * params.size + i];
  }
  y[i] = value / total;
  if (i % params.headDim == 0) { logSums[row] = most + log(total); }
}
