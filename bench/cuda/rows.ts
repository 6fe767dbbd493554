/** @file What is measured on a GPU: the rows of the project's table (DESIGN section 5), all on Llama-3-8B's shape with random weights. */

export interface Row {
  readonly name: string;
  readonly dora: boolean;
  /** A file of configs/sparsity, or null for dense. */
  readonly sparsity: string | null;
  readonly batch: number;
  /** Tokens of a sequence, and how many of them, at its end, carry a label. */
  readonly length: number;
  readonly labelled: number;
  /** Milliseconds a step and GiB at the peak that the project has set itself, on an H200; null where it is a ratio. */
  readonly target: { readonly ms: number; readonly gib: number } | null;
}

const BATCH = { batch: 8, length: 512, labelled: 128 } as const;
const MATH = 'llama3-8b-math10k.yaml';
const CSR = 'llama3-8b-csr.yaml';

export const ROWS: readonly Row[] = [
  { name: 'dense_lora', dora: false, sparsity: null, ...BATCH, target: { ms: 205, gib: 28 } },
  { name: 'sparselora_math10k', dora: false, sparsity: MATH, ...BATCH, target: { ms: 105, gib: 23 } },
  { name: 'sparselora_csr', dora: false, sparsity: CSR, ...BATCH, labelled: 3, target: { ms: 145, gib: 25 } },
  { name: 'dora', dora: true, sparsity: null, ...BATCH, target: null },
  { name: 'dense_lora_2x2048', dora: false, sparsity: null, batch: 2, length: 2048, labelled: 512, target: null },
];

/** Rows by name, in the order of the table. @throws RangeError for one that there is not. */
export function rowsNamed(names: string): Row[] {
  const wanted = names.split(',').map((name) => name.trim());
  const wrong = wanted.find((name) => !ROWS.some((row) => row.name === name));
  if (wrong !== undefined) {
    throw new RangeError(`there is no row '${wrong}'; there are ${ROWS.map(({ name }) => name).join(', ')}`);
  }
  return ROWS.filter(({ name }) => wanted.includes(name));
}
