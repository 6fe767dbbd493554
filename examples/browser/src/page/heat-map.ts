/** @file The map of kept channels on a canvas: a row for each layer's MLP, a column for its channels, in as many bins as the map has. */
import type { SparsityMap } from '@spft/trainer';

const GAP = 2;
/** Of all rows together, where there are few or many layers. */
const HEIGHT = 150;

const rowHeight = (layers: number) => Math.min(26, Math.max(6, Math.round(HEIGHT / layers)));

/** Draws in the colours of the page's style, light or dark, and says the same in words. */
export function drawHeatMap(canvas: HTMLCanvasElement, { layers, steps }: SparsityMap): void {
  const bins = Math.max(1, ...layers.map(({ parts }) => parts.mlp?.frequency.length ?? 0));
  const scale = Math.max(1, Math.round(globalThis.devicePixelRatio));
  const width = Math.max(bins, canvas.clientWidth || 600);
  const row = rowHeight(layers.length);
  const height = layers.length * (row + GAP) + GAP;
  canvas.style.height = `${height}px`;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext('2d')!;
  context.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const accent = style.getPropertyValue('--accent').trim();
  const rule = style.getPropertyValue('--rule').trim();
  const column = width / bins;
  layers.forEach(({ parts }, n) => {
    const y = GAP + n * (row + GAP);
    const frequency = parts.mlp?.frequency;
    context.globalAlpha = 1;
    if (!frequency) {
      stripes(context, { y, width, height: row }, rule);
      return;
    }
    context.fillStyle = accent;
    frequency.forEach((share, bin) => {
      context.globalAlpha = share;
      // A little wider than a column, so that no seam shows.
      if (share > 0) context.fillRect(bin * column, y, column + 0.5, row);
    });
  });
  const words = layers.map(({ layer, parts }) =>
    parts.mlp ? `layer ${layer}: ${Math.round(100 * parts.mlp.density)} % kept` : `layer ${layer}: dense`,
  );
  canvas.setAttribute('aria-label', `Kept MLP channels over ${steps} steps. ${words.join('; ')}.`);
}

interface Place {
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function stripes(context: CanvasRenderingContext2D, { y, width, height }: Place, colour: string): void {
  context.save();
  context.beginPath();
  context.rect(0, y, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.beginPath();
  for (let x = -height; x < width; x += 6) {
    context.moveTo(x, y + height);
    context.lineTo(x + height, y);
  }
  context.stroke();
  context.restore();
}
