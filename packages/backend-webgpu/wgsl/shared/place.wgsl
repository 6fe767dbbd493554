// Element-wise shaders: 256 elements a workgroup, groups in rows of at most 65535.
fn placeOf(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
  return (group.y * groups.x + group.x) * 256 + lane;
}
