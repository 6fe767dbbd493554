/**
 * @file Element types of tensors: their numbers in a file, and how many elements and bytes a block has (ggml's `ggml_type` and `type_traits`). Types that
 * are not decoded here are listed too, so that a file that has them is refused by their names.
 */

interface GgmlType {
  readonly id: number;
  /** Elements of a block, which lie in one row. */
  readonly blockSize: number;
  readonly blockBytes: number;
}

const type = (id: number, blockSize: number, blockBytes: number): GgmlType => ({ id, blockSize, blockBytes });

export const GGML_TYPES = {
  F32: type(0, 1, 4),
  F16: type(1, 1, 2),
  Q4_0: type(2, 32, 18),
  Q4_1: type(3, 32, 20),
  Q5_0: type(6, 32, 22),
  Q5_1: type(7, 32, 24),
  Q8_0: type(8, 32, 34),
  Q8_1: type(9, 32, 40),
  Q2_K: type(10, 256, 84),
  Q3_K: type(11, 256, 110),
  Q4_K: type(12, 256, 144),
  Q5_K: type(13, 256, 176),
  Q6_K: type(14, 256, 210),
  Q8_K: type(15, 256, 292),
  IQ2_XXS: type(16, 256, 66),
  IQ2_XS: type(17, 256, 74),
  IQ3_XXS: type(18, 256, 98),
  IQ1_S: type(19, 256, 50),
  IQ4_NL: type(20, 32, 18),
  IQ3_S: type(21, 256, 110),
  IQ2_S: type(22, 256, 82),
  IQ4_XS: type(23, 256, 136),
  I8: type(24, 1, 1),
  I16: type(25, 1, 2),
  I32: type(26, 1, 4),
  I64: type(27, 1, 8),
  F64: type(28, 1, 8),
  IQ1_M: type(29, 256, 56),
  BF16: type(30, 1, 2),
  TQ1_0: type(34, 256, 54),
  TQ2_0: type(35, 256, 66),
  MXFP4: type(39, 32, 17),
  NVFP4: type(40, 64, 36),
  Q1_0: type(41, 128, 18),
} as const satisfies Record<string, GgmlType>;

export type GgmlTypeName = keyof typeof GGML_TYPES;

const byId = new Map(Object.entries(GGML_TYPES).map(([name, { id }]) => [id, name as GgmlTypeName]));

export const ggmlTypeOf = (id: number): GgmlTypeName | undefined => byId.get(id);

/** Bytes of a tensor whose rows have so many elements, a multiple of the type's block. */
export function bytesOf(name: GgmlTypeName, elements: number): number {
  const { blockSize, blockBytes } = GGML_TYPES[name];
  return (elements / blockSize) * blockBytes;
}
