/** @file Shapes and strides: what a tensor looks like to a kernel that handles up to six dimensions. */

/** Dimensions that `strided.cuh` handles. */
const MOST_DIMENSIONS = 6;

/** Elements from index to index along each dimension of a row-major tensor. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** Strides with which a tensor of `shape` is read as one of shape `to`: 0 along dimensions that it is broadcast over. */
export function broadcastStrides(shape: readonly number[], to: readonly number[]): number[] {
  const own = stridesOf(shape);
  const missing = to.length - shape.length;
  return to.map((_, axis) => (axis < missing || shape[axis - missing] === 1 ? 0 : own[axis - missing]!));
}

/** Sizes, and the strides of each operand. */
export interface Layout {
  readonly sizes: readonly number[];
  readonly strides: readonly (readonly number[])[];
}

/** The same elements in as few dimensions as possible: neighbours that every operand steps through evenly become one, ones go. */
export function collapse({ sizes, strides }: Layout): Layout {
  const merged: number[] = [];
  const steps: number[][] = strides.map(() => []);
  sizes.forEach((size, axis) => {
    if (size === 1) return;
    const last = merged.length - 1;
    if (last >= 0 && strides.every((stride, operand) => steps[operand]![last] === stride[axis]! * size)) {
      merged[last]! *= size;
      steps.forEach((step, operand) => {
        step[last] = strides[operand]![axis]!;
      });
      return;
    }
    merged.push(size);
    steps.forEach((step, operand) => {
      step.push(strides[operand]![axis]!);
    });
  });
  return { sizes: merged, strides: steps };
}

/** Whether some offset or count of a layout needs more than 31 bits. */
export function isWide({ sizes, strides }: Layout): boolean {
  const count = sizes.reduce((product, size) => product * size, 1);
  const reach = strides.map((stride) => stride.reduce((sum, step, axis) => sum + Math.abs(step) * sizes[axis]!, 0));
  return Math.max(count, ...reach) >= 2 ** 31;
}

/** Arguments of SPFT_SIX parameters: at the end, as the kernel reads the last `rank` of them. */
export const six = (values: readonly number[], fill: number): number[] => [
  ...new Array<number>(MOST_DIMENSIONS - values.length).fill(fill),
  ...values,
];

/** Runs `launch` on layouts of at most six dimensions, once for every index of the dimensions beyond. Offsets are in elements. */
export function withinSix(layout: Layout, launch: (layout: Layout, offsets: readonly number[]) => void): void {
  const visit = ({ sizes, strides }: Layout, offsets: readonly number[]): void => {
    if (sizes.length <= MOST_DIMENSIONS) {
      launch({ sizes, strides }, offsets);
      return;
    }
    const rest = { sizes: sizes.slice(1), strides: strides.map((stride) => stride.slice(1)) };
    for (let index = 0; index < sizes[0]!; index++) {
      visit(
        rest,
        offsets.map((offset, operand) => offset + index * strides[operand]![0]!),
      );
    }
  };
  visit(
    layout,
    layout.strides.map(() => 0),
  );
}
