/**
 * @file Self-attention of one decoder layer: sparse projections around dense causal attention (upstream `spft/modules/attn.py`).
 */
import type { AttentionSelection } from '@spft/estimator';
import {
  gatherRows,
  type HeadLayout,
  maskColumns,
  noGradient,
  type OnTopOptions,
  packedAttention,
  projectColumns,
  projectRows,
  rope,
  ropeAttention,
} from '@spft/sparse-ops';
import { sliceRows } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { LinearLayer } from './linear-layer.js';
import { deriveSeed } from './seed.js';
import { projectKeptColumns, projectKeptRows } from './sparse-projection.js';
import { adapterCall, blockSparsity, type OutputRows, SEED_PART, type Step, sparseGradient } from './step.js';

interface Projections {
  readonly q: tf.Tensor2D;
  readonly k: tf.Tensor2D;
  readonly v: tf.Tensor2D;
}

const DENSE: AttentionSelection = { q: null, k: null, v: null, o: null };

export class AttentionBlock {
  constructor(
    readonly layer: number,
    readonly q: LinearLayer,
    readonly k: LinearLayer,
    readonly v: LinearLayer,
    readonly o: LinearLayer,
    readonly heads: HeadLayout,
  ) {}

  /** In checkpoint order. */
  get linears(): readonly LinearLayer[] {
    return [this.q, this.k, this.v, this.o];
  }

  /**
   * residual + attention(x).
   * @param x [T, H] after the norm, in row order. @param residual [T, H].
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
    const sparsity = blockSparsity(step, this.layer, 'selfAttn');
    const masks = sparsity > 0 && step.plan?.estimator.applies === 'mask';
    // An oracle masks q, k and v; its o is dense, as in the original, where that branch is never reached (NOTES, smaller ones).
    const keep = sparsity > 0 && !masks ? this.#select(x, step, sparsity) : DENSE;
    const projected = this.#project(x, step, keep);
    const { q, k, v } = masks ? this.#mask(x, step, sparsity, projected) : projected;

    const mixed = this.#attend(q, k, v, step);
    if (outputRows === null) return this.#output(mixed, residual, step, keep, step.layout.denseTokens, options);
    const { rows, dense } = outputRows;
    return this.#output(gatherRows(mixed, rows), gatherRows(residual, rows), step, keep, dense, options);
  }

  /** What the heads mix of v, q and k being turned by their positions. */
  #attend(q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D, step: Step): tf.Tensor2D {
    const { cos, sin, layout, onKeysValues } = step;
    if (!onKeysValues) return ropeAttention(q, k, v, { cos, sin }, layout, this.heads);
    const { headDim } = this.heads;
    const keys = rope(k, cos, sin, headDim);
    onKeysValues(this.layer, keys, v);
    return packedAttention(rope(q, cos, sin, headDim), keys, v, layout, this.heads);
  }

  /** residual + o(mixed). @param denseTokens rows of mixed that are dense, where some are sparse. */
  #output(
    mixed: tf.Tensor2D,
    residual: tf.Tensor2D,
    step: Step,
    keep: AttentionSelection,
    denseTokens: number,
    options: OnTopOptions,
  ): tf.Tensor2D {
    const gradient = sparseGradient(step);
    const call = this.#call(step, 'o');
    const layer = gradient === 'exact' ? this.o.frozen(keep.o, call) : null;
    const denseRows = keep.o === null ? mixed.shape[0] : denseTokens;
    if (layer) return projectColumns(mixed, residual, layer, denseRows, options);
    const base = projectKeptColumns(this.o, sliceRows(mixed, denseRows), keep.o, gradient);
    return tf.add(residual, this.o.adapt(mixed, base, call));
  }

  #call(step: Step, part: 'q' | 'k' | 'v' | 'o') {
    return adapterCall(step, this.layer, SEED_PART[part]);
  }

  #project(x: tf.Tensor2D, step: Step, keep: AttentionSelection): Projections {
    const gradient = sparseGradient(step);
    const parts = ['q', 'k', 'v'] as const;
    const layers = parts.map((part) =>
      gradient === 'exact' ? this[part].frozen(keep[part], this.#call(step, part)) : null,
    );
    if (layers.every((layer) => layer !== null)) {
      const turnedNext = step.onKeysValues === undefined;
      const [q, k, v] = projectRows(x, layers, step.layout.denseTokens, { turnedNext });
      return { q: q!, k: k!, v: v! };
    }
    const rows = sliceRows(x, keep === DENSE ? x.shape[0] : step.layout.denseTokens);
    const [q, k, v] = parts.map((part) =>
      this[part].adapt(x, projectKeptRows(this[part], rows, keep[part], gradient), this.#call(step, part)),
    );
    return { q: q!, k: k!, v: v! };
  }

  #mask(x: tf.Tensor2D, step: Step, sparsity: number, dense: Projections): Projections {
    const keep = this.#select(x, step, sparsity, dense);
    const mask = (part: 'q' | 'k' | 'v') =>
      keep[part] === null ? dense[part] : maskColumns(dense[part], keep[part], step.layout.denseTokens);
    return { q: mask('q'), k: mask('k'), v: mask('v') };
  }

  #select(x: tf.Tensor2D, step: Step, sparsity: number, dense?: Projections): AttentionSelection {
    const { estimator, listener } = step.plan!;
    const keep = noGradient(() =>
      estimator.selectAttention({
        layer: this.layer,
        sparsity,
        input: x,
        layout: step.layout,
        seed: deriveSeed(step.seed, this.layer, SEED_PART.attention),
        heads: this.heads,
        ...(estimator.needs === 'activations' && (dense ?? this.#project(x, step, DENSE))),
      }),
    );
    for (const part of ['q', 'k', 'v', 'o'] as const) {
      const selection = keep[part];
      if (selection !== null && !(part === 'o' && estimator.applies === 'mask')) {
        listener?.({ layer: this.layer, module: 'self_attn', part, selection });
      }
    }
    return keep;
  }
}
