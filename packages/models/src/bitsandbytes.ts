/**
 * @file Checkpoints that bitsandbytes and transformers wrote in 4 bits (hub models named `…-bnb-4bit`), as a source of weights.
 *
 * Beside a matrix's codes, `X.weight` [out·in/2, 1] of whatever type `bnb_4bit_quant_storage` says, there are `X.weight.absmax`, `.quant_map`, with double
 * quantisation `.nested_absmax` and `.nested_quant_map`, and `.quant_state.bitsandbytes__nf4` or `__fp4`: JSON, as bytes, of shapes and types
 * (`QuantState.as_dict` of bitsandbytes/functional.py). Here a matrix is one tensor of its own shape again, whose `packed` gives all of that.
 */

import { showValue } from '@spft/safetensors';
import type { FourBitType, StoredType } from '@spft/sparse-ops';
import { CODE_BOOKS, type PackedArraysOf, type PackedKind, unpackedArrays } from '@spft/sparse-ops/internals';
import { ModelError } from './errors.js';
import type { WeightSource } from './types.js';

/** What `quantization_config` of config.json says. */
export interface QuantizationConfig {
  readonly type: FourBitType;
  readonly doubleQuantisation: boolean;
  /** In which products were to be made: float32, bfloat16, float16. */
  readonly computeDtype: string;
}

type Json = Readonly<Record<string, unknown>>;

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

const SUPPORTED =
  'supported are weights in bf16, f16 and f32, and bitsandbytes in 4 bits (nf4, fp4); use the original model, or one of those';

/**
 * @param value of config.json's `quantization_config`.
 * @returns null where there is none.
 * @throws ModelError for other methods, and for bitsandbytes in 8 bits.
 */
export function parseQuantization(value: unknown, file: string): QuantizationConfig | null {
  if (value === undefined || value === null) return null;
  const refuse = (found: string): never => {
    throw new ModelError(`${file}: the weights are quantized (quantization_config): ${found}; ${SUPPORTED}`);
  };
  if (!isJson(value)) return refuse(`found ${showValue(value)}, wanted an object`);
  const method =
    value.quant_method ?? (value.load_in_4bit === true || value.load_in_8bit === true ? 'bitsandbytes' : undefined);
  if (method !== 'bitsandbytes')
    return refuse(method === undefined ? 'without quant_method' : `quant_method ${showValue(method)}`);
  if (value.load_in_8bit === true) return refuse('bitsandbytes in 8 bits (load_in_8bit, int8)');
  if (value.load_in_4bit !== true) return refuse('bitsandbytes without load_in_4bit');
  const type = value.bnb_4bit_quant_type ?? 'fp4';
  if (type !== 'nf4' && type !== 'fp4') return refuse(`bnb_4bit_quant_type ${showValue(type)}`);
  const compute = value.bnb_4bit_compute_dtype;
  return {
    type,
    doubleQuantisation: value.bnb_4bit_use_double_quant === true,
    computeDtype: typeof compute === 'string' ? compute : 'float32',
  };
}

/** As transformers writes it of a model in 4 bits; without llm_int8_threshold, which must be `6.0` and which JSON here would say as `6`. */
export const quantizationJson = ({ type, doubleQuantisation, computeDtype }: QuantizationConfig): Json => ({
  _load_in_4bit: true,
  _load_in_8bit: false,
  bnb_4bit_compute_dtype: computeDtype,
  bnb_4bit_quant_storage: 'uint8',
  bnb_4bit_quant_type: type,
  bnb_4bit_use_double_quant: doubleQuantisation,
  llm_int8_enable_fp32_cpu_offload: false,
  llm_int8_has_fp16_weight: false,
  llm_int8_skip_modules: null,
  load_in_4bit: true,
  load_in_8bit: false,
  quant_method: 'bitsandbytes',
});

const STATE = /^(.+)\.quant_state\.bitsandbytes__(\w+)$/;
const DTYPES: Readonly<Record<string, StoredType>> = { float32: 'F32', bfloat16: 'BF16', float16: 'F16' };
const DTYPE_NAMES: Readonly<Record<StoredType, string>> = { F32: 'float32', BF16: 'bfloat16', F16: 'float16' };

interface State {
  readonly type: FourBitType;
  readonly out: number;
  readonly in: number;
  readonly blockSize: number;
  readonly dtype: StoredType;
  readonly nested: { readonly blockSize: number; readonly offset: number } | null;
}

/** Names of the tensors beside a matrix's codes. */
const partsOf = (name: string, isNested: boolean): string[] =>
  ['absmax', 'quant_map', ...(isNested ? ['nested_absmax', 'nested_quant_map'] : [])].map((part) => `${name}.${part}`);

function parseState(name: string, said: string, bytes: Uint8Array): State {
  const about = `'${name}.quant_state.bitsandbytes__${said}'`;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ModelError(`${about} is no JSON; is the checkpoint damaged?`, { cause: error });
  }
  const lacks = (key: string, wanted: string, found: unknown): never => {
    throw new ModelError(
      `${about}: ${key}: wanted ${wanted}, found ${found === undefined ? 'none' : showValue(found)}; is the checkpoint damaged?`,
    );
  };
  if (!isJson(json)) return lacks('it', 'an object', json);
  const state = json;
  const whole = (key: string): number => {
    const value = state[key];
    return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
      ? value
      : lacks(key, 'a positive whole number', value);
  };
  const type = state.quant_type;
  if ((type !== 'nf4' && type !== 'fp4') || type !== said) return lacks('quant_type', `'${said}', nf4 or fp4`, type);
  const shape = state.shape;
  if (!Array.isArray(shape) || shape.length !== 2 || !shape.every((n) => Number.isSafeInteger(n) && n > 0)) {
    return lacks('shape', 'two whole numbers', shape);
  }
  const dtype = DTYPES[String(state.dtype)];
  if (!dtype) return lacks('dtype', Object.keys(DTYPES).join(', '), state.dtype);
  const isNested = ['nested_blocksize', 'nested_offset', 'nested_dtype'].some((key) => key in state);
  const offset = state.nested_offset;
  if (isNested && !(typeof offset === 'number' && Number.isFinite(offset)))
    return lacks('nested_offset', 'a number', offset);
  const nested = isNested ? { blockSize: whole('nested_blocksize'), offset: Math.fround(offset as number) } : null;
  return { type, out: shape[0] as number, in: shape[1] as number, blockSize: whole('blocksize'), dtype, nested };
}

/** Numbers of a float32 tensor. */
const floats = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer);

/**
 * The source with its matrices in 4 bits as such; itself where it has none.
 * @throws ModelError where a matrix lacks a part, or its parts contradict each other; and for int8.
 */
export async function withPacked<Source extends WeightSource>(source: Source): Promise<Source> {
  const names = [...source.names];
  const all = new Set(names);
  const states = new Map<string, State>();
  const hidden = new Set<string>();
  for (const name of names) {
    if (/\.weight\.SCB$|\.SCB$/.test(name)) {
      throw new ModelError(`'${name}': the weights are bitsandbytes' int8 (LLM.int8()); ${SUPPORTED}`);
    }
    const match = STATE.exec(name);
    if (!match) continue;
    const [, weight, said] = match as unknown as [string, string, string];
    const state = parseState(weight, said, await bytesOf(source, name));
    checkParts(source, all, weight, state);
    states.set(weight, state);
    for (const part of [name, ...partsOf(weight, state.nested !== null)]) hidden.add(part);
  }
  // Codes without what they stand for would be taken for a weight of another shape.
  const stray = names.find(
    (name) => /\.weight\.(absmax|quant_map|nested_absmax|nested_quant_map)$/.test(name) && !hidden.has(name),
  );
  if (stray !== undefined) {
    const weight = stray.replace(/\.\w+$/, '');
    throw new ModelError(
      `'${stray}' is there, '${weight}.quant_state.bitsandbytes__nf4' or '…fp4' is not${states.has(weight) ? ' one with double quantisation' : ''}; is the checkpoint complete?`,
    );
  }
  return states.size === 0
    ? source
    : present(
        source,
        names.filter((name) => !hidden.has(name)),
        states,
      );
}

async function bytesOf(source: WeightSource, name: string): Promise<Uint8Array> {
  if (!source.bytes)
    throw new ModelError(`'${name}': this source of weights gives no bytes, which weights in 4 bits are read from`);
  return source.bytes(name);
}

const BYTES: Readonly<Record<string, number>> = { U8: 1, I8: 1, F16: 2, BF16: 2, F32: 4 };

function checkParts(source: WeightSource, all: ReadonlySet<string>, name: string, state: State): void {
  const { out, in: inputs, blockSize, nested } = state;
  const missing = [name, ...partsOf(name, nested !== null)].filter((part) => !all.has(part));
  if (missing.length > 0) {
    throw new ModelError(`'${name}' in ${state.type} lacks '${missing.join("', '")}'; is the checkpoint complete?`);
  }
  const sized = (part: string, dtypes: readonly string[], bytes: number) => {
    const { dtype = '', shape } = source.entry(part);
    const found = shape.reduce((size, n) => size * n, BYTES[dtype] ?? Number.NaN);
    if (dtypes.includes(dtype) && found === bytes) return;
    throw new ModelError(
      `'${part}' is ${dtype} [${shape}], but the quant_state of '${name}' says [${out}, ${inputs}] in blocks of ${blockSize}, which takes ${bytes} bytes of ` +
        `${dtypes.join(' or ')}; is it of another model?`,
    );
  };
  if (inputs % blockSize !== 0) {
    throw new ModelError(
      `'${name}' [${out}, ${inputs}] is in blocks of ${blockSize}, of which its rows are no multiple: blocks reach over two rows, which is not supported; use ` +
        'the original model',
    );
  }
  const blocks = (out * inputs) / blockSize;
  sized(name, Object.keys(BYTES), (out * inputs) / 2);
  sized(`${name}.quant_map`, ['F32'], 64);
  if (!nested) sized(`${name}.absmax`, ['F32'], 4 * blocks);
  else {
    sized(`${name}.absmax`, ['U8'], blocks);
    sized(`${name}.nested_absmax`, ['F32'], 4 * Math.ceil(blocks / nested.blockSize));
    sized(`${name}.nested_quant_map`, ['F32'], 4 * 256);
  }
}

async function readPacked(source: WeightSource, name: string, state: State): Promise<PackedArraysOf> {
  const { type, out, in: inputs, blockSize, dtype, nested } = state;
  const read = (part: string) => bytesOf(source, `${name}.${part}`);
  const map = floats(await read('quant_map'));
  if (!map.every((x, code) => x === CODE_BOOKS[type][code])) {
    throw new ModelError(`'${name}.quant_map' is not that of ${type}; is the checkpoint damaged?`);
  }
  const attributes = {
    ...{ out, in: inputs, blockSize, dtype, nestedBlockSize: nested?.blockSize ?? 0, offset: nested?.offset ?? 0 },
  };
  const absmax = await read('absmax');
  const scales = nested
    ? { absmax, nestedAbsmax: floats(await read('nested_absmax')), nestedMap: floats(await read('nested_quant_map')) }
    : { absmax: floats(absmax) };
  for (const [part, values] of Object.entries(scales)) {
    const broken = values instanceof Float32Array ? values.findIndex((x) => !Number.isFinite(x)) : -1;
    if (broken >= 0)
      throw new ModelError(`'${name}': scale ${broken} (${part}) is NaN or infinite; is the checkpoint damaged?`);
  }
  return { type, attributes, codes: await bytesOf(source, name), ...scales };
}

function present<Source extends WeightSource>(
  source: Source,
  names: readonly string[],
  states: ReadonlyMap<string, State>,
): Source {
  const own = {
    names,
    has: (name: string) => names.includes(name),
    entry: (name: string) => {
      const state = states.get(name);
      return state ? { dtype: state.type.toUpperCase(), shape: [state.out, state.in] } : source.entry(name);
    },
    float32: async (name: string) => {
      const state = states.get(name);
      return state ? unpackedArrays(await readPacked(source, name, state)) : source.float32(name);
    },
    packed: (name: string) => {
      const state = states.get(name);
      return state ? readPacked(source, name, state) : null;
    },
  };
  return new Proxy(source, {
    get(target, key) {
      if (Object.hasOwn(own, key)) return own[key as keyof typeof own];
      const value = Reflect.get(target, key, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** A tensor of a checkpoint, without its data. */
export interface CheckpointSpec {
  readonly dtype: 'U8' | 'F32';
  readonly shape: readonly number[];
}

const textOf = ({ type, attributes }: PackedKind): Uint8Array => {
  const { out, in: inputs, blockSize, dtype, nestedBlockSize, offset } = attributes;
  const nested = { nested_blocksize: nestedBlockSize, nested_dtype: 'float32', nested_offset: offset };
  const state = {
    ...{ quant_type: type, blocksize: blockSize, dtype: DTYPE_NAMES[dtype], shape: [out, inputs] },
    ...(nestedBlockSize > 0 && nested),
  };
  return new TextEncoder().encode(JSON.stringify(state));
};

/** The tensors of a matrix in 4 bits by what follows its name, as bitsandbytes saves them; '' are the codes. */
export function checkpointSpecs(kind: PackedKind): ReadonlyMap<string, CheckpointSpec> {
  const { out, in: inputs, blockSize, nestedBlockSize } = kind.attributes;
  const blocks = (out * inputs) / blockSize;
  const flat = (dtype: 'U8' | 'F32', length: number): CheckpointSpec => ({ dtype, shape: [length] });
  return new Map([
    ['', { dtype: 'U8', shape: [(out * inputs) / 2, 1] }],
    ['.absmax', flat(nestedBlockSize > 0 ? 'U8' : 'F32', blocks)],
    ...(nestedBlockSize > 0
      ? ([
          ['.nested_absmax', flat('F32', Math.ceil(blocks / nestedBlockSize))],
          ['.nested_quant_map', flat('F32', 256)],
        ] as const)
      : []),
    ['.quant_map', flat('F32', 16)],
    [`.quant_state.bitsandbytes__${kind.type}`, flat('U8', textOf(kind).length)],
  ]);
}

/** The same with their data. */
export function checkpointParts(
  arrays: PackedArraysOf,
): ReadonlyMap<string, CheckpointSpec & { readonly data: Uint8Array | Float32Array }> {
  const { type, codes, absmax, nestedAbsmax, nestedMap } = arrays;
  const data: Readonly<Record<string, Uint8Array | Float32Array | undefined>> = {
    ...{ '': codes, '.absmax': absmax, '.nested_absmax': nestedAbsmax, '.nested_quant_map': nestedMap },
    ...{ '.quant_map': CODE_BOOKS[type], [`.quant_state.bitsandbytes__${type}`]: textOf(arrays) },
  };
  return new Map([...checkpointSpecs(arrays)].map(([part, spec]) => [part, { ...spec, data: data[part]! }]));
}
