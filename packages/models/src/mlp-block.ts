/**
 * @file Gated MLP of one decoder layer, down(silu(gate(x)) ⊙ up(x)), over the kept intermediate channels (upstream `spft/modules/mlp.py`).
 */
import type { SparseGradient } from '@spft/estimator';
import {
  type ChannelSelection,
  gatedMlp,
  gatherRows,
  linear,
  linearKeptColumns,
  linearKeptRows,
  loraMlp,
  maskColumns,
  noGradient,
  type OnTopOptions,
  scatterColumns,
  swiglu,
} from '@spft/sparse-ops';
import { joinSlices, type RowSlices, sliceRows } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { LinearLayer } from './linear-layer.js';
import { deriveSeed } from './seed.js';
import { projectKeptColumns, projectKeptRows } from './sparse-projection.js';
import { adapterCall, blockSparsity, type OutputRows, SEED_PART, type Step, sparseGradient } from './step.js';

const PARTS = ['gate', 'up', 'down'] as const;

export class MlpBlock {
  constructor(
    readonly layer: number,
    readonly gate: LinearLayer,
    readonly up: LinearLayer,
    readonly down: LinearLayer,
  ) {}

  /** In checkpoint order. */
  get linears(): readonly LinearLayer[] {
    return [this.gate, this.up, this.down];
  }

  /**
   * residual + mlp(x).
   * @param x [T, H] after the norm, in row order; other rows than the layout's only where this block has no sparsity.
   * @param residual [T, H].
   * @param outputRows rows of the result; all where null. @param options `withOutput: false` where nobody reads it, but takes its gradient.
   * @returns [T, H], or a row for each of those wanted, owned by the caller.
   */
  forward(
    x: tf.Tensor2D,
    residual: tf.Tensor2D,
    step: Step,
    outputRows: OutputRows | null = null,
    options: OnTopOptions = {},
  ): tf.Tensor2D {
    const sparsity = blockSparsity(step, this.layer, 'mlp');
    const gathers = sparsity > 0 && step.plan!.estimator.applies === 'gather';
    const keep = gathers ? this.#select(x, step, sparsity) : null;
    const masks = sparsity > 0 && !gathers;
    if (keep !== null) residual = this.#compensated(x, residual, step);
    const plain = [this.gate, this.up, this.down].every(({ adapter }) => adapter === null);
    const throughDropped = keep !== null && sparseGradient(step) === 'straight_through';
    if (!plain || masks || throughDropped) {
      const y =
        (masks ? null : this.#withBranches(x, residual, step, keep, options)) ??
        (tf.add(residual, this.#stepwise(x, step, sparsity, keep, masks)) as tf.Tensor2D);
      return outputRows ? gatherRows(y, outputRows.rows) : y;
    }
    if (outputRows === null)
      return gatedMlp(x, residual, this, keep, keep ? step.layout.denseTokens : x.shape[0], options);
    const { rows, dense } = outputRows;
    return gatedMlp(gatherRows(x, rows), gatherRows(residual, rows), this, keep, keep ? dense : rows.size, options);
  }

  /** residual with what dropped channels are taken to have given, on sparse rows. */
  #compensated(x: tf.Tensor2D, residual: tf.Tensor2D, step: Step): tf.Tensor2D {
    const map = step.plan!.compensation?.get(this.layer);
    if (map === undefined) return residual;
    const { down, up, bias } = map;
    const { denseTokens } = step.layout;
    return tf.tidy(() => {
      // Not by splitting, as nothing goes back to x's dense rows.
      const rows = tf.slice(x, [denseTokens, 0]) as tf.Tensor2D;
      return joinSlices(
        sliceRows(residual, denseTokens),
        (dense) => dense,
        (sparse) => tf.add(sparse, linear(linear(rows, down), up, bias)) as tf.Tensor2D,
      );
    });
  }

  /**
   * residual + mlp(x) with adapters that are plain branches, by the ops of attention's projections: of sparse rows at full width, dropped channels
   * carrying the adapters' terms alone. Null where an adapter is of another kind, or that width is not needed, or the original's gradient is wanted.
   */
  #withBranches(
    x: tf.Tensor2D,
    residual: tf.Tensor2D,
    step: Step,
    keep: ChannelSelection | null,
    options: OnTopOptions,
  ): tf.Tensor2D | null {
    const [gate, up, down] = PARTS.map((part) => this[part].frozen(keep, this.#call(step, part)));
    if (!gate || !up || !down) return null;
    if (keep !== null && ((gate.lora === null && up.lora === null) || sparseGradient(step) !== 'exact')) return null;
    const denseRows = keep ? step.layout.denseTokens : x.shape[0];
    return loraMlp(x, residual, { gate, up, down }, keep, denseRows, options);
  }

  /** mlp(x) layer by layer, for masks and for adapters of other kinds. */
  #stepwise(x: tf.Tensor2D, step: Step, sparsity: number, keep: ChannelSelection | null, masks: boolean): tf.Tensor2D {
    const { denseTokens } = step.layout;
    if (masks) {
      const activations = this.#activations(x, step);
      const masked = this.#select(x, step, sparsity, activations);
      return this.#down(masked ? maskColumns(activations, masked, denseTokens) : activations, step);
    }
    if (keep === null) return this.#down(this.#activations(x, step), step);
    const rows = sliceRows(x, denseTokens);
    const through = sparseGradient(step) === 'straight_through';
    const atFullWidth = through || this.gate.adapter !== null || this.up.adapter !== null;
    return atFullWidth ? this.#atFullWidth(rows, keep, step) : this.#atKeptWidth(rows, keep, step);
  }

  /** Nothing but the kept channels exists on sparse rows, unless an adapter on down wants its whole input. */
  #atKeptWidth(x: RowSlices, keep: ChannelSelection, step: Step): tf.Tensor2D {
    const { gate, up, down } = this;
    const cut = this.#gradient(down, step) === 'cut';
    const dense = x.dense && swiglu(gate.base(x.dense), up.base(x.dense));
    const sparse =
      x.sparse &&
      swiglu(
        linearKeptRows(x.sparse, gate.weight, keep, gate.bias),
        linearKeptRows(x.sparse, up.weight, keep, up.bias),
      );
    const downKept = (h: tf.Tensor2D) => linearKeptColumns(h, down.weight, keep, down.bias);
    const base = joinSlices(
      x,
      () => down.base(dense!),
      () => (cut ? noGradient(() => downKept(sparse!)) : downKept(sparse!)),
    );
    const whole = joinSlices(
      x,
      () => dense!,
      () => scatterColumns(sparse!, keep),
    );
    return down.adapt(whole, base, this.#call(step, 'down'));
  }

  /** Every channel on every row, as an adapter on gate or up gives all of them a term. */
  #atFullWidth(x: RowSlices, keep: ChannelSelection, step: Step): tf.Tensor2D {
    const project = (part: 'gate' | 'up') => {
      const base = projectKeptRows(this[part], x, keep, this.#gradient(this[part], step));
      return this[part].adapt(x.all, base, this.#call(step, part));
    };
    const activations = swiglu(project('gate'), project('up'));
    const base = projectKeptColumns(
      this.down,
      sliceRows(activations, step.layout.denseTokens),
      keep,
      this.#gradient(this.down, step),
    );
    return this.down.adapt(activations, base, this.#call(step, 'down'));
  }

  /** [T, I], dense. */
  #activations(x: tf.Tensor2D, step: Step): tf.Tensor2D {
    const { gate, up } = this;
    return swiglu(
      gate.adapt(x, gate.base(x), this.#call(step, 'gate')),
      up.adapt(x, up.base(x), this.#call(step, 'up')),
    );
  }

  #down(activations: tf.Tensor2D, step: Step): tf.Tensor2D {
    return this.down.adapt(activations, this.down.base(activations), this.#call(step, 'down'));
  }

  /** The original cuts the sparse product only of layers that carry an adapter: plain ones are its `in` and `out` modes, which track. */
  #gradient(layer: LinearLayer, step: Step): SparseGradient {
    const gradient = sparseGradient(step);
    return gradient === 'cut' && layer.adapter === null ? 'exact' : gradient;
  }

  #call(step: Step, part: 'gate' | 'up' | 'down') {
    return adapterCall(step, this.layer, SEED_PART[part]);
  }

  #select(x: tf.Tensor2D, step: Step, sparsity: number, activations?: tf.Tensor2D): ChannelSelection | null {
    const { estimator, listener } = step.plan!;
    const selection = noGradient(() =>
      estimator.selectMlp({
        layer: this.layer,
        sparsity,
        input: x,
        layout: step.layout,
        seed: deriveSeed(step.seed, this.layer, SEED_PART.mlp),
        channels: this.gate.outFeatures,
        ...(estimator.needs === 'activations' && {
          activations: activations ?? this.#activations(x, step),
          downWeight: this.down.weight,
        }),
      }),
    );
    if (selection !== null) listener?.({ layer: this.layer, module: 'mlp', part: 'mlp', selection });
    return selection;
  }
}
