/** @file What a plan's sparsities are, in words that two of them can be compared by. */

/** Layers of one sparsity together, by number: `0.99: layers.3.mlp layers.4.mlp; 0.75: …`. Dense ones say nothing. */
export function sparsityText(sparsity: Readonly<Record<string, number>>): string {
  const layers = new Map<number, string[]>();
  for (const [layer, value] of Object.entries(sparsity).sort(([a], [b]) =>
    a.localeCompare(b, 'en', { numeric: true }),
  )) {
    if (value > 0) layers.set(value, [...(layers.get(value) ?? []), layer]);
  }
  return [...layers]
    .sort(([a], [b]) => b - a)
    .map(([value, names]) => `${value}: ${names.join(' ')}`)
    .join('; ');
}
