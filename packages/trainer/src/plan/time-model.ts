/**
 * @file What sparsity saves of a step's time, out of a few measured times of one layer: linear between the sparsities that were measured, and between the
 * shares of tokens that are sparse, as what is fixed (gathers, the estimator) does not grow with them and all else does.
 *
 * A layer that is run again and again finds what its forward kept still in a cache, which in a step it does not: on `blas` an MLP, of which a dense one keeps
 * most, saved a sixth more within a step than alone. So a step in which one module is sparse in all layers is measured beside a dense one, and what layers
 * alone save is corrected in its proportion: what slows work down slows down what is saved of it.
 */

/** Of a decoder layer, those that can be sparse. */
export const SPARSE_MODULES = ['mlp', 'self_attn'] as const;
export type SparseModule = (typeof SPARSE_MODULES)[number];

/** A decoder layer of which one module is sparse. */
export interface LayerTime {
  readonly module: SparseModule;
  readonly sparsity: number;
  /** Share of the batch's tokens that are sparse. */
  readonly sparseTokens: number;
  readonly seconds: number;
}

/** A step in which one module is sparse in all layers, beside a dense one. */
export interface JointTime extends Omit<LayerTime, 'seconds'> {
  /** Of the dense step's time. */
  readonly share: number;
  /** As how many of the timed layers all layers count, as one may have less to save than another. */
  readonly layers: number;
}

/** Of one run, on the same batch. */
export interface StepTimes {
  /** Of a dense step. */
  readonly step: number;
  /** Of one dense layer. */
  readonly layer: number;
  readonly sparse: readonly LayerTime[];
  /** One for a module, or none: then a layer saves in a step what it does alone. */
  readonly joint?: readonly JointTime[];
}

const LEAST_GAIN = 0.01;

export class TimeModel {
  /** By module: what a layer saves within a step, times and plus what it saves alone. */
  readonly #within = new Map<SparseModule, { readonly factor: number; readonly more: number }>();

  /** @throws RangeError where a time is not above 0. */
  constructor(readonly times: StepTimes) {
    const { joint = [] } = times;
    const all = [
      ...[times.step, times.layer, ...times.sparse.map(({ seconds }) => seconds)],
      ...joint.flatMap(({ share, layers }) => [share, layers]),
    ];
    const wrong = all.find((seconds) => !(seconds > 0 && Number.isFinite(seconds)));
    if (wrong !== undefined) throw new RangeError(`TimeModel: a time must be above 0, got ${wrong}`);
    for (const { module, sparsity, sparseTokens, share, layers } of joint) {
      const [alone, within] = [this.#savingAlone(module, sparsity, sparseTokens), (1 - share) / layers];
      // Of nothing, a proportion says nothing.
      const isProportion = alone > this.noise && within > 0;
      this.#within.set(
        module,
        isProportion ? { factor: within / alone, more: 0 } : { factor: 1, more: within - alone },
      );
    }
  }

  /** Time of a layer with one sparse module, alone, beside a dense layer's. */
  layerShare(module: SparseModule, sparsity: number, sparseTokens: number): number {
    const ofModule = this.times.sparse.filter((time) => time.module === module);
    const bySparsity = new Map<number, Point[]>();
    for (const time of ofModule) {
      bySparsity.set(time.sparseTokens, [
        ...(bySparsity.get(time.sparseTokens) ?? []),
        { at: time.sparsity, value: time.seconds },
      ]);
    }
    const points = [...bySparsity].map(([at, times]): Point => ({ at, value: between(times, sparsity) }));
    return between(points, sparseTokens) / this.times.layer;
  }

  /** Share of a dense step's time that a layer's sparse module saves within a step; below 0 where it is slower. */
  saving(module: SparseModule, sparsity: number, sparseTokens: number): number {
    const { factor, more } = this.#within.get(module) ?? { factor: 1, more: 0 };
    return factor * this.#savingAlone(module, sparsity, sparseTokens) + more;
  }

  #savingAlone(module: SparseModule, sparsity: number, sparseTokens: number): number {
    return ((1 - this.layerShare(module, sparsity, sparseTokens)) * this.times.layer) / this.times.step;
  }

  /** Savings up to it may be noise: a hundredth of a layer. */
  get noise(): number {
    return (LEAST_GAIN * this.times.layer) / this.times.step;
  }
}

interface Point {
  readonly at: number;
  readonly value: number;
}

/** Linear between neighbours; the nearest beyond the ends. @throws RangeError where there are no points. */
function between(points: readonly Point[], at: number): number {
  const sorted = [...points].sort((a, b) => a.at - b.at);
  const above = sorted.find((point) => point.at >= at);
  const below = sorted.filter((point) => point.at <= at).at(-1);
  if (!above && !below) throw new RangeError('TimeModel: this module was not measured');
  if (!above || !below || above.at === below.at) return (above ?? below)!.value;
  const part = (at - below.at) / (above.at - below.at);
  return below.value + part * (above.value - below.value);
}
