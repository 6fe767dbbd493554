/** @file Plain loops that say the same as project-rows.ts, project-columns.ts and gated-mlp.ts: a layer of which some channels count on some rows. */

/** A layer [out, in] with numbers in place of tensors. */
export interface LayerReference {
  readonly weight: ArrayLike<number>;
  readonly bias: ArrayLike<number> | null;
  /** Channels that sparse rows compute; null for all. */
  readonly keep: ReadonlySet<number> | null;
  readonly lora: {
    readonly a: ArrayLike<number>;
    readonly b: ArrayLike<number>;
    readonly r: number;
    readonly scaling: number;
    /** DoRA's: rescales an output to this over the length of its row of W + s·B·A; null for LoRA. */
    readonly magnitude: ArrayLike<number> | null;
  } | null;
  readonly out: number;
  readonly inputs: number;
}

/** Length of row o of W + s·B·A. */
function rowNorm(layer: LayerReference, o: number): number {
  let squares = 0;
  for (let i = 0; i < layer.inputs; i++) squares += effective(layer, 'outputs', false, o, i) ** 2;
  return Math.sqrt(squares);
}

/** What output o is multiplied by. */
const rescaling = (layer: LayerReference, o: number): number =>
  layer.lora?.magnitude ? layer.lora.magnitude[o]! / rowNorm(layer, o) : 1;

/** The layer before it is rescaled, as one number for each (kind of row, output, input). */
function effective(layer: LayerReference, selects: 'outputs' | 'inputs', sparse: boolean, o: number, i: number) {
  const { weight, keep, lora, inputs } = layer;
  const channel = selects === 'outputs' ? o : i;
  let w = !sparse || keep === null || keep.has(channel) ? weight[o * inputs + i]! : 0;
  if (lora) for (let r = 0; r < lora.r; r++) w += lora.scaling * lora.b[o * lora.r + r]! * lora.a[r * inputs + i]!;
  return w;
}

/** y [T, out] of x [T, in]; rows from `denseRows` on are sparse. */
export function layerReference(
  x: ArrayLike<number>,
  T: number,
  layer: LayerReference,
  denseRows: number,
  selects: 'outputs' | 'inputs',
): Float64Array {
  const { out, inputs, bias, keep } = layer;
  const y = new Float64Array(T * out);
  for (let t = 0; t < T; t++) {
    const sparse = t >= denseRows;
    for (let o = 0; o < out; o++) {
      const biased = selects === 'inputs' || !sparse || keep === null || keep.has(o);
      let sum = bias && biased ? bias[o]! : 0;
      for (let i = 0; i < inputs; i++) sum += effective(layer, selects, sparse, o, i) * x[t * inputs + i]!;
      y[t * out + o] = rescaling(layer, o) * sum;
    }
  }
  return y;
}

/** Gradients of x [T, in], A, B and the magnitude for dy [T, out]; null without them. Norms are constants (DoRA section 4.3). */
export function layerGradReference(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  T: number,
  layer: LayerReference,
  denseRows: number,
  selects: 'outputs' | 'inputs',
): Record<'dA' | 'dB' | 'dm', Float64Array | null> & { dx: Float64Array } {
  const { out, inputs, lora } = layer;
  const dx = new Float64Array(T * inputs);
  const dA = lora && new Float64Array(lora.r * inputs);
  const dB = lora && new Float64Array(out * lora.r);
  const dm = lora?.magnitude ? new Float64Array(out) : null;
  for (let t = 0; t < T; t++) {
    for (let o = 0; o < out; o++) {
      const g = rescaling(layer, o) * dy[t * out + o]!;
      let z = 0;
      for (let i = 0; i < inputs; i++) {
        const w = effective(layer, selects, t >= denseRows, o, i);
        dx[t * inputs + i]! += g * w;
        z += w * x[t * inputs + i]!;
      }
      if (dm) dm[o]! += (dy[t * out + o]! * z) / rowNorm(layer, o);
      if (!lora) continue;
      for (let r = 0; r < lora.r; r++) {
        let h = 0;
        for (let i = 0; i < inputs; i++) {
          h += lora.a[r * inputs + i]! * x[t * inputs + i]!;
          dA![r * inputs + i]! += lora.scaling * g * lora.b[o * lora.r + r]! * x[t * inputs + i]!;
        }
        dB![o * lora.r + r]! += lora.scaling * g * h;
      }
    }
  }
  return { dx, dA, dB, dm };
}
