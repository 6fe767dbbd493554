/** @file Values of a file's metadata: each with its type, the same when it is read and when it is written; and reading keys of wanted types. */
import { showValue } from '@spft/safetensors';
import { GgufError } from './errors.js';

/** In the order of their numbers in a file. */
export const VALUE_TYPES = [
  ...(['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'bool', 'string', 'array'] as const),
  ...(['uint64', 'int64', 'float64'] as const),
] as const;
export type ValueType = (typeof VALUE_TYPES)[number];

/** Arrays of numbers are as small in memory as in the file. */
export type NumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

export type MetadataValue =
  | {
      readonly type: 'uint8' | 'int8' | 'uint16' | 'int16' | 'uint32' | 'int32' | 'float32' | 'float64';
      readonly value: number;
    }
  | { readonly type: 'uint64' | 'int64'; readonly value: bigint }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | {
      readonly type: 'array';
      readonly of: ValueType;
      /** Strings; numbers; bools as bytes; arrays as values. */
      readonly value: readonly string[] | NumberArray | readonly MetadataValue[];
    };

export type MetadataEntries = ReadonlyMap<string, MetadataValue>;

/** Values as they are mostly written. */
export const uint32 = (value: number): MetadataValue => ({ type: 'uint32', value });
export const float32 = (value: number): MetadataValue => ({ type: 'float32', value: Math.fround(value) });
export const bool = (value: boolean): MetadataValue => ({ type: 'bool', value });
export const string = (value: string): MetadataValue => ({ type: 'string', value });
export const strings = (value: readonly string[]): MetadataValue => ({ type: 'array', of: 'string', value });
export const int32s = (value: Int32Array): MetadataValue => ({ type: 'array', of: 'int32', value });
export const float32s = (value: Float32Array): MetadataValue => ({ type: 'array', of: 'float32', value });

const show = (found: MetadataValue): string =>
  found.type === 'array'
    ? `an array of ${found.value.length} ${found.of}`
    : `${found.type} ${typeof found.value === 'bigint' ? found.value : showValue(found.value)}`;

/** A file's metadata. Each method gives undefined where the key is not there, and throws GgufError where it has another type. */
export class Metadata {
  constructor(
    readonly entries: MetadataEntries,
    private readonly file?: string,
  ) {}

  has(key: string): boolean {
    return this.entries.has(key);
  }

  string(key: string): string | undefined {
    return this.#get(key, 'a string', (found) => (found.type === 'string' ? found.value : null));
  }

  boolean(key: string): boolean | undefined {
    return this.#get(key, 'true or false', (found) => (found.type === 'bool' ? found.value : null));
  }

  /** Of any numeric type. */
  number(key: string): number | undefined {
    return this.#get(key, 'a number', (found) =>
      typeof found.value === 'number' ? found.value : typeof found.value === 'bigint' ? Number(found.value) : null,
    );
  }

  /** A whole number of any type, 0 or more, exactly; of a list with one value for all, that value. */
  count(key: string): number | undefined {
    return this.#get(key, 'a whole number, 0 or more', (found) => {
      const { value } = found;
      const single =
        found.type === 'array' && found.of !== 'string' && found.of !== 'array' ? uniform(value as NumberArray) : value;
      const number = typeof single === 'bigint' ? Number(single) : single;
      return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : null;
    });
  }

  strings(key: string): readonly string[] | undefined {
    return this.#get(key, 'a list of strings', (found) =>
      found.type === 'array' && found.of === 'string' ? (found.value as readonly string[]) : null,
    );
  }

  /** A list of numbers that are at most 32 bits wide. */
  numbers(key: string): Exclude<NumberArray, BigUint64Array | BigInt64Array> | undefined {
    return this.#get(key, 'a list of numbers', (found) => {
      if (found.type !== 'array' || ['string', 'array', 'bool', 'uint64', 'int64'].includes(found.of)) return null;
      return found.value as Float32Array;
    });
  }

  #get<T>(key: string, wanted: string, read: (found: MetadataValue) => T | null): T | undefined {
    const found = this.entries.get(key);
    if (found === undefined) return undefined;
    const value = read(found);
    if (value !== null) return value;
    throw new GgufError(`wanted ${wanted}, found ${show(found)}`, { file: this.file, key });
  }
}

/** What all numbers of a list are, where they are alike: a value for each layer that is the same in all. */
function uniform(values: NumberArray): number | bigint | null {
  const first = values[0];
  return first !== undefined && (values as Float32Array).every((value) => value === first) ? first : null;
}
