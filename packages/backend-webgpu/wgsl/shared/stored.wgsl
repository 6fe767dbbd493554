// Numbers as they are stored: 0 float32, a word each; else two in a word, the first in its low half: 1 bf16, 2 float16. Taken apart by their bits, so that
// every adapter can and nothing is rounded or flushed: all of both types are float32 numbers.
fn wordOf(stored: u32, at: u32) -> u32 {
  if (stored == 0) { return at; }
  return at / 2;
}

fn bitsOf(stored: u32, word: u32, at: u32) -> u32 {
  if (stored == 0) { return word; }
  let isSecond = (at & 1) == 1;
  if (stored == 1) { return select(word << 16, word & 0xffff0000u, isSecond); }
  let half = select(word & 0xffffu, word >> 16, isSecond);
  let exponent = (half >> 10) & 31;
  let fraction = half & 1023;
  var bits = ((exponent + 112) << 23) | (fraction << 13);
  // Infinity and what is no number; below the least normal number are multiples of 2⁻²⁴.
  if (exponent == 31) { bits = 0x7f800000u | (fraction << 13); }
  if (exponent == 0) { bits = bitcast<u32>(f32(fraction) * 0x1p-24f); }
  return ((half & 0x8000u) << 16) | bits;
}
