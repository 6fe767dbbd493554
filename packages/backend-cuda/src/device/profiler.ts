/**
 * @file Where the GPU's time goes, by kernel and by product: an event before and after each launch while it is switched on. Events add a
 * microsecond or two to every launch, so shares mean more than sums.
 */

/** What the profiler needs of a device. */
export interface EventSource {
  recordEvent(): number;
  /** Milliseconds from one recorded event to another. */
  elapsed(start: number, end: number): number;
  destroyEvent(event: number): void;
  synchronize(): void;
}

export interface ProfileEntry {
  /** A kernel's name, or a product's shape. */
  readonly name: string;
  readonly calls: number;
  readonly milliseconds: number;
}

export class Profiler {
  readonly #device: EventSource;
  readonly #spans: { readonly name: string; readonly start: number; readonly end: number }[] = [];
  #start = 0;

  constructor(device: EventSource) {
    this.#device = device;
  }

  before(): void {
    this.#start = this.#record();
  }

  after(name: string): void {
    this.#spans.push({ name, start: this.#start, end: this.#record() });
  }

  /** Totals, largest first; waits for the GPU. */
  finish(): ProfileEntry[] {
    this.#device.synchronize();
    const totals = new Map<string, { calls: number; milliseconds: number }>();
    for (const { name, start, end } of this.#spans) {
      const total = totals.get(name) ?? { calls: 0, milliseconds: 0 };
      totals.set(name, total);
      total.calls++;
      total.milliseconds += this.#device.elapsed(start, end);
      this.#device.destroyEvent(start);
      this.#device.destroyEvent(end);
    }
    return [...totals].map(([name, total]) => ({ name, ...total })).sort((a, b) => b.milliseconds - a.milliseconds);
  }

  #record(): number {
    return this.#device.recordEvent();
  }
}

/** Runs `f` and says where the GPU's time went. */
export function profileOf(device: EventSource & { profiler: Profiler | null }, f: () => void): ProfileEntry[] {
  const profiler = new Profiler(device);
  device.profiler = profiler;
  try {
    f();
  } finally {
    device.profiler = null;
  }
  return profiler.finish();
}
