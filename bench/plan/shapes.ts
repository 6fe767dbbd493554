/** @file The models of the plan: Llama 3's shapes. */

export interface ModelShape {
  readonly name: string;
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabulary: number;
}

const LLAMA3 = { kvHeads: 8, headDim: 128, vocabulary: 128_256 } as const;

export const SHAPES: readonly ModelShape[] = [
  { name: '8B', layers: 32, hidden: 4096, intermediate: 14_336, heads: 32, ...LLAMA3 },
  { name: '70B', layers: 80, hidden: 8192, intermediate: 28_672, heads: 64, ...LLAMA3 },
  { name: '405B', layers: 126, hidden: 16_384, intermediate: 53_248, heads: 128, ...LLAMA3 },
];

/** [out, in] of a layer's linear layers: q, k, v, o, gate, up, down. */
export function matricesOf({ hidden, intermediate, heads, kvHeads, headDim }: ModelShape): [number, number][] {
  return [
    [heads * headDim, hidden],
    [kvHeads * headDim, hidden],
    [kvHeads * headDim, hidden],
    [hidden, heads * headDim],
    [intermediate, hidden],
    [intermediate, hidden],
    [hidden, intermediate],
  ];
}

/** Numbers of a layer's linear layers. */
export const numbersOfLayer = (shape: ModelShape): number =>
  matricesOf(shape).reduce((sum, [out, inputs]) => sum + out * inputs, 0);

/** Of embedding and head together. */
export const numbersOfEnds = ({ vocabulary, hidden }: ModelShape): number => 2 * vocabulary * hidden;
