// exp overflows to infinity for a large negative x, and 1 / (1 + ∞) is 0: right on both sides.
fn sigmoid(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-x));
}
