/** @file What the page shows of a run: tiles, curves of this run and of those before it in this visit, the map of kept channels. */
import { clockTime, type LogEntry, lineChart, type Point, type SparsityMap, sparsityMap } from '@spft/trainer';
import type { RunSettings, StepEntry } from '../protocol.js';
import { element, text } from './dom.js';
import { drawHeatMap } from './heat-map.js';

const TITLES = { lora: 'LoRA', sparselora: 'SparseLoRA' } as const;

interface Curve {
  readonly name: string;
  points: Point[];
}

/** Curves that are shown at once. */
const MOST_CURVES = 4;

export class RunView {
  readonly #curves: Curve[] = [];
  #map: SparsityMap | null = null;
  #drawn = false;
  /** Where a chart of the page's width would have text too small to read. */
  readonly #narrow = matchMedia('(max-width: 600px)');

  constructor() {
    // Colours are of the style at the time of drawing.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#drawMap());
    addEventListener('resize', () => this.#drawMap());
    this.#narrow.addEventListener('change', () => this.#drawCurves());
  }

  /** A run begins, or goes on after what it has logged. */
  begin({ method, steps }: RunSettings, history: readonly LogEntry[], step: number): void {
    const points = history.flatMap((entry): Point[] => (entry.loss === undefined ? [] : [[entry.step!, entry.loss]]));
    if (step > 0 && this.#curves.length > 0) this.#curves.pop();
    const same = this.#curves.filter(({ name }) => name.startsWith(TITLES[method])).length;
    this.#curves.push({ name: same > 0 ? `${TITLES[method]} ${same + 1}` : TITLES[method], points });
    if (this.#curves.length > MOST_CURVES) this.#curves.shift();
    text('tile-step', `${step} / ${steps}`);
    text('tile-speed', '–');
    text('tile-eta', '–');
    this.#map = null;
    this.#drawMap();
    this.#drawCurves();
  }

  step({ step, totalSteps, loss, tokensPerSecond, etaSeconds }: StepEntry): void {
    this.#curves.at(-1)?.points.push([step, loss]);
    text('tile-step', `${step} / ${totalSteps}`);
    text('tile-loss', loss.toFixed(4));
    if (tokensPerSecond !== null) text('tile-speed', Math.round(tokensPerSecond).toLocaleString('en'));
    if (etaSeconds !== null) text('tile-eta', clockTime(etaSeconds));
    // Once a frame, however fast steps are.
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.#drawCurves();
    });
  }

  map(map: SparsityMap): void {
    this.#map = map;
    this.#drawMap();
  }

  #drawCurves(): void {
    const last = this.#curves.length - 1;
    element('charts', HTMLElement).innerHTML = lineChart(
      this.#curves.map(({ name, points }, n) => ({ name, points, colour: last - n, smooth: true })),
      { id: 'loss', title: 'Loss of a labelled token', wide: !this.#narrow.matches },
    );
  }

  #drawMap(): void {
    element('map-panel', HTMLElement).hidden = this.#map === null;
    if (!this.#map) return;
    drawHeatMap(element('heat-map', HTMLCanvasElement), this.#map);
    element('map-table', HTMLElement).innerHTML = sparsityMap('SparseLoRA', this.#map);
  }
}
