/** @file What sparsity kept, as data: `SparsityStatistics` collects it, the report draws it. */

export const SPARSE_PARTS = ['mlp', 'q', 'k', 'v', 'o'] as const;
export type SparsePart = (typeof SPARSE_PARTS)[number];

/** One part of one layer, over all selections seen. */
export interface PartStatistics {
  readonly total: number;
  /** Mean fraction of channels kept. */
  readonly density: number;
  readonly selections: number;
  /** Fraction of channels that every selection kept, and that none did. */
  readonly always: number;
  readonly never: number;
  /** How often channels were kept, 0 to 1, in channel order; neighbours averaged where there are more channels than bins. */
  readonly frequency: readonly number[];
}

export interface LayerStatistics {
  readonly layer: number;
  /** A part that is missing was computed densely. */
  readonly parts: Readonly<Partial<Record<SparsePart, PartStatistics>>>;
}

export interface SparsityMap {
  /** Steps that were listened to. */
  readonly steps: number;
  readonly layers: readonly LayerStatistics[];
}
