/**
 * @file Moving elements between places that strides describe. Runs of neighbours are moved in the widest words that sizes, strides and
 * addresses allow, up to 16 bytes; what is one run is a copy of the driver's; a transposition goes through shared memory.
 */
import type { CudaBackend } from '../backend.js';
import { blocksFor, THREADS } from './launching.js';
import { collapse, isWide, type Layout, six, withinSix } from './shapes.js';
import { combinations, declareVariants } from './variants.js';

/** C++ types of words by their bytes. */
export const WORDS: Readonly<Record<number, string>> = { 1: 'u8', 2: 'u16', 4: 'u32', 8: 'Words2', 16: 'Words4' };

/** A place in device memory and the elements' strides there. */
export interface Place {
  readonly address: number;
  readonly strides: readonly number[];
}

/** Copies elements of `bytes` bytes, `sizes` of them, from one place to another. Strides may be negative, or 0 to read one element often. */
export function copyStrided(
  backend: CudaBackend,
  bytes: number,
  sizes: readonly number[],
  from: Place,
  to: Place,
): void {
  if (sizes.includes(0)) return;
  const layout = collapse({ sizes, strides: [from.strides, to.strides] });
  const { sizes: merged, strides } = layout;
  const [source, target] = strides as [number[], number[]];
  const last = merged.length - 1;
  if (merged.length === 0 || (merged.length === 1 && source[0] === 1 && target[0] === 1)) {
    backend.copy(from.address, to.address, bytes * (merged[0] ?? 1));
    return;
  }
  if (source[last] === 1 && target[last] === 1) copyWords(backend, bytes, layout, from.address, to.address);
  else if (!transposed(backend, bytes, layout, from.address, to.address)) {
    launchCopies(backend, bytes, layout, from.address, to.address);
  }
}

/** Rows of neighbours, as rows of wider words. */
function copyWords(backend: CudaBackend, bytes: number, layout: Layout, from: number, to: number): void {
  const { sizes, strides } = layout;
  const last = sizes.length - 1;
  const outer = strides.flatMap((stride) => stride.slice(0, last).map((step) => step * bytes));
  const word = [16, 8, 4, 2].find(
    (width) => width > bytes && [sizes[last]! * bytes, from, to, ...outer].every((value) => value % width === 0),
  );
  if (word === undefined) {
    launchCopies(backend, bytes, layout, from, to);
    return;
  }
  const scale = word / bytes;
  const wider = {
    sizes: sizes.map((size, axis) => (axis === last ? size / scale : size)),
    strides: strides.map((stride) => stride.map((step, axis) => (axis === last ? 1 : step / scale))),
  };
  launchCopies(backend, word, wider.sizes[last] === 1 ? collapse(wider) : wider, from, to);
}

function launchCopies(backend: CudaBackend, bytes: number, layout: Layout, from: number, to: number): void {
  const wide = isWide(layout);
  const letters = (wide ? 'l' : 'i').repeat(18);
  const defines = { WORD: WORDS[bytes]!, ...(wide ? { WIDE: 1 } : {}) };
  const kernel = backend.kernel('copy', 'copy_strided', `ppli${letters}`, defines);
  withinSix(layout, ({ sizes, strides }, [atFrom, atTo]) => {
    const size = sizes.reduce((product, count) => product * count, 1);
    const dimensions = [...six(sizes, 1), ...six(strides[0]!, 0), ...six(strides[1]!, 0)];
    const places = [from + atFrom! * bytes, to + atTo! * bytes];
    backend.launch(kernel, [blocksFor(size)], [THREADS], [...places, size, sizes.length, ...dimensions]);
  });
}

/** Whether it was a transposition of matrices to a contiguous result, and is done. */
function transposed(
  backend: CudaBackend,
  bytes: number,
  { sizes, strides }: Layout,
  from: number,
  to: number,
): boolean {
  const rank = sizes.length;
  if (rank < 2 || rank > 4 || bytes > 8) return false;
  const [source, target] = strides as [number[], number[]];
  const [rows, columns] = sizes.slice(-2) as [number, number];
  let contiguous = 1;
  for (let axis = rank - 1; axis >= 0; axis--) {
    if (target[axis] !== contiguous) return false;
    contiguous *= sizes[axis]!;
  }
  // Narrow matrices leave most of a tile empty.
  if (source[rank - 2] !== 1 || source[rank - 1]! < 0 || rows < 8 || columns < 8) return false;
  const batch = [...new Array<number>(4 - rank).fill(1), ...sizes.slice(0, -2)];
  const steps = [...new Array<number>(4 - rank).fill(0), ...source.slice(0, -2)];
  const tiles = batch[0]! * batch[1]! * Math.ceil(rows / 32) * Math.ceil(columns / 32);
  const kernel = backend.kernel('transpose', 'transpose_tiles', 'ppiilliill', { WORD: WORDS[bytes]! });
  backend.launch(
    kernel,
    [Math.min(tiles, 2 ** 20)],
    [32, 8],
    [from, to, batch[0]!, batch[1]!, steps[0]!, steps[1]!, rows, columns, source[rank - 1]!, tiles],
  );
  return true;
}

declareVariants('copy', [
  ...Object.values(WORDS).map((WORD) => ({ WORD })),
  ...combinations({ WORD: Object.values(WORDS), WIDE: [1] }),
]);
declareVariants('transpose', combinations({ WORD: ['u8', 'u16', 'u32'] }));
