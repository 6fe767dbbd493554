// Σ x² over shares of up to seven tensors at once: y[at + tensor · shares + share]; a workgroup a share.
//+ reduce
struct Params { share: u32, shares: u32, at: u32, size0: u32, size1: u32, size2: u32, size3: u32, size4: u32, size5: u32, size6: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x0: array<f32>;
@group(0) @binding(2) var<storage, read> x1: array<f32>;
@group(0) @binding(3) var<storage, read> x2: array<f32>;
@group(0) @binding(4) var<storage, read> x3: array<f32>;
@group(0) @binding(5) var<storage, read> x4: array<f32>;
@group(0) @binding(6) var<storage, read> x5: array<f32>;
@group(0) @binding(7) var<storage, read> x6: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;

fn sizeOf(tensor: u32) -> u32 {
  switch (tensor) {
    case 0: { return params.size0; }
    case 1: { return params.size1; }
    case 2: { return params.size2; }
    case 3: { return params.size3; }
    case 4: { return params.size4; }
    case 5: { return params.size5; }
    default: { return params.size6; }
  }
}

fn numberOf(tensor: u32, i: u32) -> f32 {
  switch (tensor) {
    case 0: { return x0[i]; }
    case 1: { return x1[i]; }
    case 2: { return x2[i]; }
    case 3: { return x3[i]; }
    case 4: { return x4[i]; }
    case 5: { return x5[i]; }
    default: { return x6[i]; }
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tensor = group.y;
  let end = min(sizeOf(tensor), (group.x + 1) * params.share);
  var sum = 0.0;
  for (var i = group.x * params.share + lane; i < end; i += LANES) {
    let value = numberOf(tensor, i);
    sum += value * value;
  }
  sum = sumOfLanes(lane, sum);
  if (lane == 0) { y[params.at + tensor * params.shares + group.x] = sum; }
}
