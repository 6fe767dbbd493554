/**
 * @file Functions of two numbers, elementwise with broadcasting (`cuda/binary.cu`). Tensors of one shape and tensors with a scalar are
 * streamed in packs of eight; so is the last dimension of any other broadcast where it allows it: a row over a matrix, a column, a bias.
 */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { blocksFor, hostTensor, PACK, packAligned, packsOf, resultPhysical, THREADS } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { broadcastStrides, collapse, isWide, type Layout, six, withinSix } from '../shared/shapes.js';
import { combinations, declareVariants } from '../shared/variants.js';
import { BYTES, C_TYPE } from '../storage.js';

const ARITHMETIC = ['Add', 'Sub', 'Multiply', 'RealDiv', 'Maximum', 'Minimum', 'SquaredDifference', 'Mod', 'Pow'];
const OF_FLOATS = ['Atan2', 'Prelu', 'EluGrad'];
const COMPARISONS = ['Equal', 'NotEqual', 'Less', 'LessEqual', 'Greater', 'GreaterEqual'];
const LOGICAL = ['LogicalAnd', 'LogicalOr'];
const OF_INTEGERS = ['FloorDiv', 'BitwiseAnd'];

/** Arithmetic between scalars of the host, which stay there. */
const ON_HOST: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Multiply: (a, b) => a * b,
  RealDiv: (a, b) => a / b,
  Pow: (a, b) => a ** b,
  Maximum: Math.max,
  Minimum: Math.min,
};

function resultType(op: string, a: tf.TensorInfo): tf.DataType {
  if (COMPARISONS.includes(op) || LOGICAL.includes(op)) return 'bool';
  if (OF_INTEGERS.includes(op)) return 'int32';
  return op === 'Prelu' || op === 'EluGrad' ? 'float32' : a.dtype;
}

/** `op` of a and b, broadcast to one shape, as a new tensor: in bf16 if both are, scalars of the host not counted. Owned by the caller. */
export function binary(backend: CudaBackend, op: string, a: tf.TensorInfo, b: tf.TensorInfo): tf.TensorInfo {
  const shape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const size = tf.util.sizeFromShape(shape);
  const dtype = resultType(op, a);
  const [valueA, valueB] = [backend.hostScalar(a), backend.hostScalar(b)];
  if (valueA !== null && valueB !== null && dtype === 'float32' && op in ON_HOST) {
    return hostTensor(backend, ON_HOST[op]!(valueA, valueB), shape, dtype);
  }
  // A scalar of the host takes the other operand's physical type where that is its dtype's: one variant less to compile.
  const tensors = [...(valueA === null ? [a] : []), ...(valueB === null ? [b] : [])];
  const to = resultPhysical(backend, dtype, ...(tensors.length > 0 ? tensors : [a, b]));
  const [typeA, typeB] = [backend.physical(a), backend.physical(b)];
  const result = backend.output(shape, dtype, to);
  if (size === 0) return result;
  const defines = { OP: op, LEFT: C_TYPE[typeA], RIGHT: C_TYPE[typeB], TO: C_TYPE[to] };
  const target = backend.address(result);
  const [sizeA, sizeB] = [tf.util.sizeFromShape(a.shape), tf.util.sizeFromShape(b.shape)];
  const flat = (entry: Entry, parameters: string, args: readonly number[], packs: number) =>
    backend.launch(
      backend.kernel('binary', `binary_${entry}`, `${parameters}pll`, { ...defines, ...entryOf(backend, entry) }),
      [blocksFor(Math.max(packs, size - PACK * packs))],
      [THREADS],
      [...args, target, size, packs],
    );
  if (sizeB === 1 && sizeA === size) {
    const packs = packsOf(size, [backend.address(a), typeA], [target, to]);
    flat('scalar_b', 'ppf', [backend.address(a), ...scalar(backend, b, valueB)], packs);
  } else if (sizeA === 1 && sizeB === size) {
    const packs = packsOf(size, [backend.address(b), typeB], [target, to]);
    flat('scalar_a', 'pfp', [...scalar(backend, a, valueA), backend.address(b)], packs);
  } else if (sizeA === size && sizeB === size) {
    const [from, other] = [backend.address(a), backend.address(b)];
    flat('same', 'pp', [from, other], packsOf(size, [from, typeA], [other, typeB], [target, to]));
  } else {
    const strides = [broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape)];
    broadcast(backend, defines, collapse({ sizes: shape, strides }), [a, b, result]);
  }
  return result;
}

/** Entry points of the file, by their names' ends. */
const ENTRIES = ['same', 'scalar_a', 'scalar_b', 'strided', 'strided_packs'] as const;
type Entry = (typeof ENTRIES)[number];

/** One of them is compiled alone, but on the emulator. */
const entryOf = ({ device }: CudaBackend, entry: Entry): Record<string, string> =>
  device.isEmulated ? {} : { ENTRY: entry.toUpperCase() };

/** Address and value of a scalar: a null address for one of the host. int32 values that float cannot hold go by address. */
function scalar(backend: CudaBackend, info: tf.TensorInfo, value: number | null): [address: number, value: number] {
  if (value === null || (info.dtype !== 'float32' && Math.abs(value) > 2 ** 24)) return [backend.address(info), 0];
  return [0, value];
}

type Operands = readonly [a: tf.TensorInfo, b: tf.TensorInfo, result: tf.TensorInfo];

function broadcast(backend: CudaBackend, defines: Record<string, string>, layout: Layout, operands: Operands): void {
  const [a, b, result] = operands.map((info) => [backend.address(info), backend.physical(info)] as const);
  const { sizes } = layout;
  const last = sizes.length - 1;
  // A pack begins at a multiple of eight in every operand that it is loaded from.
  const packs =
    sizes[last]! % PACK === 0 &&
    packAligned(...result!) &&
    [a!, b!].every(([address, physical], operand) => {
      const strides = layout.strides[operand]!;
      const along = strides[last] === 1 && packAligned(address, physical);
      return strides[last] === 0 || (along && strides.every((stride, axis) => axis === last || stride % PACK === 0));
    });
  const step = packs ? PACK : 1;
  const wide = isWide(layout);
  const [index, six64] = wide ? ['l'.repeat(18), { WIDE: 1 }] : ['i'.repeat(18), {}];
  const entry = packs ? 'strided_packs' : 'strided';
  const own = { ...defines, ...six64, ...entryOf(backend, entry) };
  const kernel = backend.kernel('binary', `binary_${entry}`, `pppli${index}`, own);
  const bytes = [a!, b!].map(([, physical]) => BYTES[physical]);
  const resultBytes = BYTES[result![1]];
  let done = 0;
  withinSix(layout, (part, [atA, atB]) => {
    const counts = part.sizes.map((size, axis) => (axis === part.sizes.length - 1 ? size / step : size));
    const groups = counts.reduce((product, count) => product * count, 1);
    const strides = part.strides.map((stride) =>
      stride.map((value, axis) => (axis === stride.length - 1 ? value * step : value)),
    );
    const addresses = [a![0] + atA! * bytes[0]!, b![0] + atB! * bytes[1]!, result![0] + done * resultBytes];
    const dimensions = [...six(counts, 1), ...six(strides[0]!, 0), ...six(strides[1]!, 0)];
    backend.launch(kernel, [blocksFor(groups)], [THREADS], [...addresses, groups, counts.length, ...dimensions]);
    done += groups * step;
  });
}

for (const name of [...ARITHMETIC, ...COMPARISONS, ...LOGICAL, ...OF_INTEGERS, 'Atan2']) {
  registerCudaKernel<'a' | 'b'>(name, ({ backend, inputs }) => binary(backend, name, inputs.a, inputs.b));
}
registerCudaKernel<'x' | 'alpha'>(tf.Prelu, ({ backend, inputs }) => binary(backend, 'Prelu', inputs.x, inputs.alpha));
registerCudaKernel<'dy' | 'y'>(tf.EluGrad, ({ backend, inputs }) => binary(backend, 'EluGrad', inputs.dy, inputs.y));

const FLOATS = [
  { LEFT: 'float', RIGHT: 'float' },
  { LEFT: 'bf16', RIGHT: 'bf16' },
  { LEFT: 'bf16', RIGHT: 'float' },
  { LEFT: 'float', RIGHT: 'bf16' },
];
const both = (element: string) => ({ LEFT: element, RIGHT: element });
declareVariants('binary', [
  ...[...ARITHMETIC, ...OF_FLOATS].flatMap((OP) =>
    FLOATS.flatMap((types) => combinations({ OP: [OP], TO: ['float'] }).map((rest) => ({ ...types, ...rest }))),
  ),
  ...[...ARITHMETIC, ...OF_FLOATS].map((OP) => ({ OP, ...both('bf16'), TO: 'bf16' })),
  ...ARITHMETIC.map((OP) => ({ OP, ...both('int'), TO: 'int' })),
  ...COMPARISONS.flatMap((OP) => [...FLOATS, both('int'), both('u8')].map((types) => ({ OP, ...types, TO: 'u8' }))),
  ...LOGICAL.map((OP) => ({ OP, ...both('u8'), TO: 'u8' })),
  ...OF_INTEGERS.map((OP) => ({ OP, ...both('int'), TO: 'int' })),
  { OP: 'FloorDiv', ...both('float'), TO: 'int' },
  { OP: 'Add', ...both('float'), TO: 'float', WIDE: 1 },
  // Each entry point of any variant compiles alone if those of one do.
  ...ENTRIES.map((entry) => ({ OP: 'Multiply', ...both('float'), TO: 'float', ENTRY: entry.toUpperCase() })),
]);
