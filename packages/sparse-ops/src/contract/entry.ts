/**
 * @file What the contract says of one kernel, and the types that follow from it. An entry is written as its author would write a comment,
 * `'bias? [out]'`, and read by the compiler as well as by the conformance suite.
 *
 * The words of an input or output: its name, `?` after it where it may be missing, `#` after it for a list (`p#` stands for p0, p1, …); `int32` where
 * it is not float32, `u8` where it is bytes (tfjs's dtype `bool`, each element any of 0 to 255); its shape, `[…]` for any. Letters of shapes are those of types.ts; a word that is also the name of an attribute is that number.
 */
import type * as tf from '@tensorflow/tfjs';

/** One kernel of the contract. */
export interface KernelEntry<
  Inputs extends readonly string[] = readonly string[],
  Outputs extends readonly string[] = readonly string[],
  Attributes = unknown,
> {
  readonly inputs: Inputs;
  /** In their order. They belong to the caller. */
  readonly outputs: Outputs;
  /** Its type is what counts: made by `attributes<…>()`. */
  readonly attributes?: Attributes;
  /** The kernel of the op's gradient, or 'itself' where the op's gradient is made by this kernel. None: not differentiable, or always composed. */
  readonly gradient?: string;
  /** Kernels without which this one is never called: a backend registers all of them or none. */
  readonly needs?: readonly string[];
  /** Outputs that may be the memory of an input once more, by name: `{ first: 'x' }`. All others are memory of their own. */
  readonly shares?: Readonly<Record<string, string>>;
  /** Inputs that the kernel may write over, its outputs of these names being what is there then. All others are left as they are. */
  readonly updates?: readonly string[];
}

/** For the type of an entry's attributes. */
export const attributes = <A>(): A => undefined as A;

/** For an entry: keeps what its words say in its type. */
export const kernel = <
  const Inputs extends readonly string[],
  const Outputs extends readonly string[],
  A = Readonly<Record<never, never>>,
>(
  entry: KernelEntry<Inputs, Outputs, A>,
): KernelEntry<Inputs, Outputs, A> => entry;

type NameOf<Words> = Words extends `${infer Name} ${string}` ? Name : never;
type Needed<Words> = NameOf<Words> extends `${string}?` | `${string}#` ? never : NameOf<Words>;
type Optional<Words> = NameOf<Words> extends `${infer Name}?` ? Name : never;
type Listed<Words> = NameOf<Words> extends `${infer Name}#` ? `${Name}${number}` : never;

/** The inputs of an entry by name, each of type `T`. */
export type InputsByName<Inputs extends readonly string[], T> = {
  readonly [Words in Inputs[number] as Needed<Words>]: T;
} & { readonly [Words in Inputs[number] as Optional<Words>]?: T } & {
  readonly [Words in Inputs[number] as Listed<Words>]: T;
};

type DimensionsOf<Words> = Words extends `${string}[${infer Dimensions}]` ? Dimensions : never;
/** The tensor of an output by its shape. */
type TensorOf<Words> =
  DimensionsOf<Words> extends ''
    ? tf.Scalar
    : DimensionsOf<Words> extends `${string}…${string}`
      ? tf.Tensor
      : DimensionsOf<Words> extends `${string}, ${string}, ${string}`
        ? tf.Tensor3D
        : DimensionsOf<Words> extends `${string}, ${string}`
          ? tf.Tensor2D
          : tf.Tensor1D;

type TensorTuple<Outputs> = Outputs extends readonly [infer First, ...infer Others]
  ? NameOf<First> extends `${string}#`
    ? tf.Tensor[]
    : NameOf<First> extends `${string}?`
      ? [TensorOf<First>?, ...TensorTuple<Others>]
      : [TensorOf<First>, ...TensorTuple<Others>]
  : [];

/** What an op gets of a kernel: the tensor of its one output, or all of them in their order. */
export type TensorsOf<Outputs extends readonly string[]> = Outputs extends readonly [infer Only]
  ? NameOf<Only> extends `${string}#`
    ? tf.Tensor[]
    : TensorOf<Only>
  : TensorTuple<Outputs>;

/** What a kernel gives: its one output, or a list. A kernel of one output and others that it may keep may give the one alone. */
export type InfosOf<Outputs extends readonly string[], Info> = Outputs extends readonly [infer Only]
  ? NameOf<Only> extends `${string}#`
    ? Info[]
    : Info
  : Outputs extends readonly [infer First, infer Second]
    ? NameOf<First> extends `${string}#`
      ? Info[]
      : NameOf<Second> extends `${string}#`
        ? Info | Info[]
        : Info[]
    : Info[];

/** An input or output of an entry, read. */
export interface Slot {
  readonly name: string;
  readonly kind: 'needed' | 'optional' | 'list';
  readonly dtype: 'float32' | 'int32' | 'bool';
  /** A word for each dimension, or null for any shape. */
  readonly shape: readonly string[] | null;
}

/** @throws Error where the words are none of an entry: a mistake of ours. */
export function readSlot(words: string): Slot {
  const match = /^(\w+)([?#]?) (int32 |u8 )?\[(.*)\]$/.exec(words);
  if (!match) throw new Error(`internal: '${words}' names no input or output; wanted 'name [shape]'`);
  const [, name, mark, type, dimensions] = match as unknown as [string, string, string, string | undefined, string];
  return {
    name,
    kind: mark === '?' ? 'optional' : mark === '#' ? 'list' : 'needed',
    dtype: type === 'int32 ' ? 'int32' : type === 'u8 ' ? 'bool' : 'float32',
    shape: dimensions === '…' ? null : dimensions === '' ? [] : dimensions.split(', '),
  };
}
