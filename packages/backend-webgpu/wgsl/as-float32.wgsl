// y[i] = x[i] in float32, of numbers that are stored in 16 bits.
//+ place
//+ stored
struct Params { size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

override STORED: u32 = 1;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i < params.size) { y[i] = bitsOf(STORED, x[wordOf(STORED, i)], i); }
}
