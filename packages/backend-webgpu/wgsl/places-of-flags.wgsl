// The places of the ones, ascending: each flag counts those before it.
//+ place
struct Params { size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> flags: array<u32>;
@group(0) @binding(2) var<storage, read_write> places: array<i32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = placeOf(group, groups, lane);
  if (i >= params.size || flags[i] == 0) { return; }
  var before = 0u;
  for (var j = 0u; j < i; j++) { before += flags[j]; }
  places[before] = i32(i);
}
