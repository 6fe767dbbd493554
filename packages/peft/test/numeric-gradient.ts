/** @file Gradients in double precision: what an adapter's variables are compared with. */

/** d(Σ f(values)·probe)/d(values) by central differences. */
export function numericGradient(
  f: (values: Float64Array) => ArrayLike<number>,
  at: ArrayLike<number>,
  probe: ArrayLike<number>,
  step = 1e-5,
): Float64Array {
  const values = Float64Array.from(at);
  const objective = () => Array.from(f(values)).reduce((sum, y, n) => sum + y * probe[n]!, 0);
  return values.map((value, i) => {
    values[i] = value + step;
    const above = objective();
    values[i] = value - step;
    const below = objective();
    values[i] = value;
    return (above - below) / (2 * step);
  });
}
