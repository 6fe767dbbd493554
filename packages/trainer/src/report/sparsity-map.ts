/**
 * @file The map of what sparsity kept: a table with a row for each layer and a column for each part. A cell's colour and number are the
 * density; the strip in it shows the channels in order, the fuller the more often a channel was kept.
 */
import { type PartStatistics, SPARSE_PARTS, type SparsityMap } from '../record/sparsity-map.js';
import { escapeHtml, percent } from './html.js';

/** Shades of a strip. */
const LEVELS = 6;
/** From this density on, text is set in the light ink. */
const LIGHT_INK_FROM = 0.55;

export function sparsityMap(method: string, { steps, layers }: SparsityMap): string {
  const header = SPARSE_PARTS.map((part) => `<th scope="col">${part === 'mlp' ? 'MLP' : part}</th>`).join('');
  const rows = layers.map(({ layer, parts }) => {
    const cells = SPARSE_PARTS.map((part) => cell(parts[part]));
    return `<tr><th scope="row">${layer}</th>${cells.join('')}</tr>`;
  });
  const name = escapeHtml(method);
  return `<section class="scroll" aria-label="What ${name} kept, layer by layer" tabindex="0">
<table class="map">
<caption>${name}: density of each layer, over ${steps} steps that were looked at. Below each number, the channels in order: full where always kept, empty where never.</caption>
<thead><tr><th scope="col">layer</th>${header}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>
</section>`;
}

function cell(part: PartStatistics | undefined): string {
  if (!part) return '<td class="dense"><span class="number">dense</span></td>';
  const { density, always, never, total } = part;
  const says =
    `${percent(density)} of ${total} channels kept; ` +
    `${percent(always, 0)} of them always, ${percent(never, 0)} never, the others now and then`;
  const ink = density >= LIGHT_INK_FROM ? ' light-ink' : '';
  return (
    `<td class="kept${ink}" style="--density:${density.toFixed(3)}" title="${says}">` +
    `<span class="number">${percent(density, 0)}</span>${strip(part.frequency)}</td>`
  );
}

/** One path for each shade, a stroke for each run of channels of that shade. */
function strip(frequency: readonly number[]): string {
  const shades = frequency.map((value) => Math.round(value * LEVELS));
  const paths = new Map<number, string>();
  for (let start = 0; start < shades.length; ) {
    let end = start + 1;
    while (end < shades.length && shades[end] === shades[start]) end++;
    const shade = shades[start]!;
    if (shade > 0) paths.set(shade, `${paths.get(shade) ?? ''}M${start} .5h${end - start}`);
    start = end;
  }
  const strokes = [...paths].map(([shade, d]) => `<path stroke-opacity="${(shade / LEVELS).toFixed(2)}" d="${d}"/>`);
  return `<svg class="strip" viewBox="0 0 ${frequency.length} 1" preserveAspectRatio="none" aria-hidden="true">${strokes.join('')}</svg>`;
}
