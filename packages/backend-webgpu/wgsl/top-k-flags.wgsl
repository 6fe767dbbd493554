// Whether fewer than `kept` scores are before each one: higher, or as high and of a lower channel. A score that is no number is the lowest.
//+ place
struct Params { size: u32, kept: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> flags: array<u32>;

// Numbers in the order of the floats they are of. Bits are compared, as a compiler may take it for granted that nothing is NaN.
fn orderOf(score: f32) -> u32 {
  let bits = bitcast<u32>(score);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0; }
  if (bits == 0x80000000u) { return 0x80000000u; }
  if ((bits & 0x80000000u) != 0) { return ~bits; }
  return bits | 0x80000000u;
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size) { return; }
  let own = orderOf(scores[i]);
  var before = 0u;
  for (var j = 0u; j < params.size; j++) {
    let other = orderOf(scores[j]);
    if (other > own || (other == own && j < i)) { before++; }
  }
  flags[i] = select(0u, 1u, before < params.kept);
}
