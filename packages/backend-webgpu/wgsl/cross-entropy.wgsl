// Of a row of logits: its loss, log Σ exp − the label's logit, and in the logits' place their gradient, softmax − 1 at the label. A row whose
// label is below 0 counts for nothing.
//+ reduce
struct Params { rows: u32, width: u32, firstRow: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;
  let label = labels[params.firstRow + row];
  var most = logits[base];
  for (var v = lane; v < params.width; v += LANES) { most = max(most, logits[base + v]); }
  most = maxOfLanes(lane, most);
  var sum = 0.0;
  for (var v = lane; v < params.width; v += LANES) { sum += exp(logits[base + v] - most); }
  sum = sumOfLanes(lane, sum);
  // Read before it is written over below, behind the barriers of the sum.
  var loss = 0.0;
  if (lane == 0 && label >= 0) { loss = log(sum) + most - logits[base + u32(label)]; }
  workgroupBarrier();
  let share = select(0.0, 1.0 / sum, label >= 0);
  for (var v = lane; v < params.width; v += LANES) {
    var gradient = exp(logits[base + v] - most) * share;
    if (i32(v) == label) { gradient -= 1.0; }
    logits[base + v] = gradient;
  }
  if (lane == 0) { losses[params.firstRow + row] = loss; }
}
