// dx[rows[r], ·] += dy[r, ·], row after row: a thread has a column, so that rows that are named twice add up, and always in the same order. Rows below 0 are none.
struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> rows: array<i32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.width) { return; }
  for (var r = 0u; r < params.rows; r++) {
    if (rows[r] >= 0) { dx[u32(rows[r]) * params.width + id.x] += dy[r * params.width + id.x]; }
  }
}
