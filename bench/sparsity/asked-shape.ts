/** @file A shape with other sparsities than its own. */
import type { BenchShape } from '../model/shapes.js';

export interface AskedSparsity {
  /** The sparse layers, `3-28` with both ends, or one alone. */
  readonly layers?: string | undefined;
  /** Fraction dropped of the MLPs' channels and of attention's, in those layers. */
  readonly mlp?: string | undefined;
  readonly attention?: string | undefined;
}

/**
 * The shape, sparse where and as is asked; what is not asked for is its own.
 * @throws RangeError naming the flag that is no range of its layers, or no sparsity; or where nothing is left sparse.
 */
export function withSparsity(shape: BenchShape, { layers, mlp, attention }: AskedSparsity): BenchShape {
  const given = { mlp: fraction('--mlp', mlp), selfAttn: fraction('--attention', attention) };
  const [own] = shape.sparsity.values();
  const numbers = layers === undefined ? [...shape.sparsity.keys()] : rangeOf(layers, shape.config.numHiddenLayers);
  const sparsity = new Map(
    numbers.map((layer) => {
      const { mlp, selfAttn } = shape.sparsity.get(layer) ?? own!;
      return [layer, { mlp: given.mlp ?? mlp, selfAttn: given.selfAttn ?? selfAttn }];
    }),
  );
  if ([...sparsity.values()].some(({ mlp, selfAttn }) => mlp > 0 || selfAttn > 0)) return { ...shape, sparsity };
  throw new RangeError('nothing is sparse: of --mlp and --attention one must be above 0');
}

function fraction(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value < 1) return value;
  throw new RangeError(`${flag} is ${text}; wanted at least 0, below 1`);
}

function rangeOf(text: string, layerCount: number): number[] {
  const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (first === undefined || from > to || to >= layerCount) {
    throw new RangeError(`--layers is ${text}; wanted a range within 0-${layerCount - 1}, such as 3-28`);
  }
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}
