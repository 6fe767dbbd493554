// Of kept kv channels (h, i) the query channels (h·G + g)·d + i, ascending: those of lower kv heads, of lower query heads of the group and of
// lower i of the same head come before.
struct Params { kept: u32, group: u32, headDim: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read_write> channels: array<i32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let n = id.x;
  if (n >= params.kept) { return; }
  let head = u32(indices[n]) / params.headDim;
  let i = u32(indices[n]) % params.headDim;
  var first = n;
  while (first > 0 && u32(indices[first - 1]) / params.headDim == head) { first--; }
  var end = n + 1;
  while (end < params.kept && u32(indices[end]) / params.headDim == head) { end++; }
  for (var g = 0u; g < params.group; g++) {
    channels[first * params.group + g * (end - first) + n - first] = i32((head * params.group + g) * params.headDim + i);
  }
}
