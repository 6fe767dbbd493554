/**
 * @file A GGUF file's tensors as a checkpoint has them: by its names, the rows of q and k in its order, and quantised ones as the float32 numbers that they
 * stand for. Blocks as a form of frozen weights on the device are not here: what is loaded takes the room of plain weights.
 */
import {
  bytesOf,
  DECODED_TYPES,
  type DecodedType,
  decode,
  GGML_TYPES,
  type GgufFile,
  isDecoded,
  isQuantized,
  type TensorEntry,
} from '@spft/gguf';
import { bfloat16ToFloat32, type Dtype, float16ToFloat32 } from '@spft/safetensors';
import { ModelError } from '../errors.js';
import type { ModelWeights } from '../model-weights.js';
import { checkpointName, fromGgufRows, hasOtherRows } from './tensor-names.js';

/** Not a weight: RoPE's frequencies, which the config has. */
const COMPUTED = new Set(['rope_freqs.weight']);
/** Read and decoded at a time. */
const CHUNK_BYTES = 16 * 1024 * 1024;

/**
 * @param headDim of the model, for the order of rows.
 * @throws ModelError when a tensor is of a type that is not decoded, or has no place in a Llama.
 */
export function weightsOfGguf(file: GgufFile, headDim: number): ModelWeights {
  const inFile = new Map<string, string>();
  const problems: string[] = [];
  for (const name of file.names) {
    if (COMPUTED.has(name)) continue;
    const { type, shape } = file.entry(name);
    const ours = checkpointName(name);
    if (ours === undefined) problems.push(`'${name.slice(0, 80)}' has no place in a Llama`);
    else if (!isDecoded(type)) problems.push(`'${name}' is in ${type}`);
    else if (shape.length < 1 || shape.length > 2)
      problems.push(`'${name}' is [${shape}], wanted one or two dimensions`);
    else if (hasOtherRows(ours) && shape[0]! % headDim !== 0)
      problems.push(`'${name}' is [${shape}], which are no heads of ${headDim} rows`);
    else inFile.set(ours, name);
  }
  if (problems.length > 0) {
    const shown = problems.slice(0, 5).join('\n  ');
    const rest = problems.length > 5 ? `\n  and ${problems.length - 5} more` : '';
    throw new ModelError(
      `${file.name === undefined ? '' : `${file.name}: `}these tensors cannot be used (types that are read: ${DECODED_TYPES.join(', ')}):\n  ${shown}${rest}`,
    );
  }
  return new GgufWeights(file, inFile, headDim);
}

class GgufWeights implements ModelWeights {
  readonly names: readonly string[];

  constructor(
    private readonly file: GgufFile,
    private readonly inFile: ReadonlyMap<string, string>,
    private readonly headDim: number,
  ) {
    this.names = [...inFile.keys()];
  }

  has(name: string): boolean {
    return this.inFile.has(name);
  }

  entry(name: string): { readonly dtype: Dtype; readonly shape: readonly number[] } {
    const { type, shape } = this.#entry(name);
    return { dtype: isQuantized(type) ? 'F32' : (type as 'F32' | 'F16' | 'BF16'), shape };
  }

  /** Of quantised ones the bytes of their float32 values. */
  async bytes(name: string, begin = 0, end?: number): Promise<Uint8Array> {
    const { shape, type } = this.#entry(name);
    const width = isQuantized(type) ? 4 : GGML_TYPES[type].blockBytes;
    const [rows, columns] = [shape[0]!, shape[1] ?? 1];
    const rowBytes = columns * width;
    const until = end ?? rows * rowBytes;
    if (!(begin >= 0 && begin <= until && until <= rows * rowBytes)) {
      throw new RangeError(`bytes: '${name}' has bytes [0, ${rows * rowBytes}), asked for [${begin}, ${until})`);
    }
    // Rows are read in groups within which their order may differ: whole heads of q and k.
    const group = hasOtherRows(name) ? this.headDim : 1;
    const [first, last] = [
      Math.floor(begin / rowBytes / group) * group,
      Math.min(rows, Math.ceil(until / rowBytes / group) * group),
    ];
    const out = new Uint8Array(until - begin);
    const step = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes / group)) * group;
    for (let row = first; row < last; row += step) {
      const some = await this.#rows(name, row, Math.min(last, row + step));
      const at = row * rowBytes - begin;
      out.set(some.subarray(Math.max(0, -at), Math.min(some.length, out.length - at)), Math.max(0, at));
    }
    return out;
  }

  async float32(name: string): Promise<Float32Array> {
    const { type } = this.#entry(name);
    const bytes = await this.bytes(name);
    if (type !== 'F16' && type !== 'BF16')
      return new Float32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / 4);
    const halves = new Uint16Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / 2);
    const values = new Float32Array(halves.length);
    if (type === 'F16') float16ToFloat32(halves, values);
    else bfloat16ToFloat32(halves, values);
    return values;
  }

  close(): Promise<void> {
    return this.file.close();
  }

  /** Rows in the checkpoint's order; quantised ones as float32. */
  async #rows(name: string, first: number, last: number): Promise<Uint8Array> {
    const { type, shape } = this.#entry(name);
    const columns = shape[1] ?? 1;
    // A vector's elements are its rows here, and blocks go over several: vectors of models are never quantised, and are whole where they are.
    const inBlocks = shape.length === 1 && isQuantized(type);
    const [from, to] = inBlocks ? [0, shape[0]!] : [first, last];
    const stored = await this.file.bytes(
      this.inFile.get(name)!,
      bytesOf(type, from * columns),
      bytesOf(type, to * columns),
    );
    let made = stored;
    if (isQuantized(type)) {
      const values = new Float32Array((to - from) * columns);
      decode(type as DecodedType, stored, values);
      const wanted = inBlocks ? values.slice(first, last) : values;
      made = new Uint8Array(wanted.buffer);
    }
    if (!hasOtherRows(name)) return made;
    return fromGgufRows(made, made.length / (last - first), this.headDim);
  }

  #entry(name: string): TensorEntry {
    const stored = this.inFile.get(name);
    if (stored !== undefined) return this.file.entry(stored);
    throw new ModelError(`${this.file.name === undefined ? '' : `${this.file.name}: `}there is no weight '${name}'`);
  }
}
