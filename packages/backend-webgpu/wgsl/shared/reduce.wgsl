// Sums and maxima over the lanes of a workgroup, in a fixed order. Every lane gets the result.
override LANES: u32 = 128;
var<workgroup> lanes: array<f32, LANES>;

fn sumOfLanes(lane: u32, value: f32) -> f32 {
  lanes[lane] = value;
  for (var half = LANES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { lanes[lane] += lanes[lane + half]; }
  }
  workgroupBarrier();
  let sum = lanes[0];
  workgroupBarrier();
  return sum;
}

fn maxOfLanes(lane: u32, value: f32) -> f32 {
  lanes[lane] = value;
  for (var half = LANES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { lanes[lane] = max(lanes[lane], lanes[lane + half]); }
  }
  workgroupBarrier();
  let most = lanes[0];
  workgroupBarrier();
  return most;
}
