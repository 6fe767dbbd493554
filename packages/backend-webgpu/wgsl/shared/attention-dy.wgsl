// Of what comes back to the attention's output, which lies as queries do.
fn quadOfDy(token: u32, head: u32, quad: u32) -> vec4<f32> {
  let at = (u32(rowOfToken[token]) * params.heads + head) * HEAD_DIM + 4 * quad;
  var values = vec4<f32>();
  for (var i = 0u; i < 4; i++) { if (4 * quad + i < HEAD_DIM) { values[i] = dy[at + i]; } }
  return values;
}
