// A block of keys or values, from token `since` to before `end`, into `others`.
fn fetchKeys(since: u32, end: u32, head: u32, lane: u32) {
  for (var task = lane; task < BLOCK * HEAD_QUADS; task += THREADS) {
    let token = since + task / HEAD_QUADS;
    var values = vec4<f32>();
    if (token < end) { values = quadOfK(token, head, task % HEAD_QUADS); }
    others[task / HEAD_QUADS * PITCH + task % HEAD_QUADS] = values;
  }
}
fn fetchValues(since: u32, end: u32, head: u32, lane: u32) {
  for (var task = lane; task < BLOCK * HEAD_QUADS; task += THREADS) {
    let token = since + task / HEAD_QUADS;
    var values = vec4<f32>();
    if (token < end) { values = quadOfV(token, head, task % HEAD_QUADS); }
    others[task / HEAD_QUADS * PITCH + task % HEAD_QUADS] = values;
  }
}
