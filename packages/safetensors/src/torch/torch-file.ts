/**
 * @file Tensors that `torch.save` wrote, without running what is in the file: its pickle is read by unpickle.ts, which only knows tensors, and its storages are
 * ranges of the archive. A bare tensor has the name `tensor`, those of a dict their keys.
 */
import { DTYPE_BYTES, elementCount } from '../dtypes.js';
import { SafetensorsError } from '../errors.js';
import { type ByteSource, fileOf, type SafetensorsFile } from '../file.js';
import type { TensorEntry } from '../header.js';
import { isDict, isTensor, type Pickled, type PickledTensor, PickleError, unpickle } from './unpickle.js';
import { crc32, isZip, type ZipEntry, zipEntries } from './zip-entries.js';

/** The name of a tensor that was saved alone. */
export const BARE_TENSOR = 'tensor';

const PICKLE = 'data.pkl';
/** A pickle holds names and shapes, no values. */
const MOST_PICKLE_BYTES = 2 ** 26;

/** Tells how a file that is not read here becomes one that is. */
const convert = (file: string | undefined) =>
  `convert it where torch is, if you trust it: python -c "import torch, safetensors.torch as s; t = torch.load('${file ?? 'FILE'}', weights_only=True); ` +
  `s.save_file({k: v.contiguous() for k, v in (t if isinstance(t, dict) else {'${BARE_TENSOR}': t}).items()}, 'OUT.safetensors')"`;

/**
 * Reads and checks what `torch.save` wrote (since PyTorch 1.6): a tensor, or a dict of tensors, of float, half, bfloat16 or double. Values are read when they
 * are asked for. Closing the result closes the source.
 * @throws SafetensorsError saying what of it is not read, and how to convert it; the source is then left open.
 */
export async function openTorchSource(source: ByteSource): Promise<SafetensorsFile> {
  const file = source.name;
  const start = await source.read(0, Math.min(4, source.size));
  if (!isZip(start)) {
    throw new SafetensorsError(
      `is no archive as torch.save writes it since PyTorch 1.6 (older ones, and plain pickles, run code when they are read); ${convert(file)}`,
      { file },
    );
  }
  const entries = await zipEntries(source);
  const pickles = [...entries.keys()].filter((name) => name === PICKLE || name.endsWith(`/${PICKLE}`));
  const [name] = pickles;
  if (name === undefined || pickles.length > 1) {
    throw new SafetensorsError(
      `wanted one '${PICKLE}' in it, as torch.save writes, found ${pickles.length || 'none'}; ${convert(file)}`,
      { file },
    );
  }
  const folder = name.slice(0, -PICKLE.length);
  await requireLittleEndian(source, entries.get(`${folder}byteorder`));
  const value = await readPickle(source, entries.get(name)!);
  const tensors = new Map<string, TensorEntry>();
  for (const [tensor, described] of tensorsOf(value, file)) {
    tensors.set(tensor, entryOf(tensor, described, entries.get(`${folder}data/${described.storage.key}`), file));
  }
  return fileOf({ entries: tensors, metadata: {} }, source);
}

async function readPickle(source: ByteSource, entry: ZipEntry): Promise<Pickled> {
  const file = source.name;
  const size = entry.end - entry.begin;
  if (size > MOST_PICKLE_BYTES)
    throw new SafetensorsError(`its pickle has ${size} bytes; one of tensors has names and shapes alone`, { file });
  const bytes = await source.read(entry.begin, entry.end);
  if (crc32(bytes) !== entry.crc32)
    throw new SafetensorsError('is damaged: its pickle has another checksum than its directory says; copy it again', {
      file,
    });
  try {
    return unpickle(bytes);
  } catch (error) {
    if (!(error instanceof PickleError)) throw error;
    throw new SafetensorsError(`its pickle is not read, as ${error.message}; ${convert(file)}`, { file, cause: error });
  }
}

async function requireLittleEndian(source: ByteSource, entry: ZipEntry | undefined): Promise<void> {
  if (!entry || entry.end - entry.begin > 16) return;
  const order = new TextDecoder().decode(await source.read(entry.begin, entry.end));
  if (order === 'little') return;
  throw new SafetensorsError(`its byte order is '${order}', wanted 'little'; ${convert(source.name)}`, {
    file: source.name,
  });
}

function tensorsOf(value: Pickled, file: string | undefined): [string, PickledTensor][] {
  if (isTensor(value)) return [[BARE_TENSOR, value]];
  if (!isDict(value))
    throw new SafetensorsError(`wanted a tensor or a dict of tensors in it, found neither; ${convert(file)}`, { file });
  return [...value.entries].map(([key, tensor]) => {
    if (typeof key === 'string' && isTensor(tensor)) return [key, tensor];
    throw new SafetensorsError(
      `wanted a dict from names to tensors in it, found something else under '${String(key).slice(0, 100)}'; ${convert(file)}`,
      { file },
    );
  });
}

/** Where a tensor's values are in the file. */
function entryOf(
  tensor: string,
  { storage, offset, shape, strides }: PickledTensor,
  entry: ZipEntry | undefined,
  file: string | undefined,
): TensorEntry {
  const fail = (problem: string): never => {
    throw new SafetensorsError(problem, { file, tensor });
  };
  const width = DTYPE_BYTES[storage.dtype];
  if (!entry) return fail(`its storage '${storage.key.slice(0, 100)}' is not in the file; is it complete?`);
  const bytes = entry.end - entry.begin;
  if (bytes !== storage.elements * width)
    return fail(
      `its storage should have ${storage.elements} elements of ${width} bytes, found ${bytes} bytes; copy the file again`,
    );
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis]! > 1 && strides[axis] !== stride)
      return fail(`is a view with gaps (shape [${shape}], strides [${strides}]); ${convert(file)}`);
    stride *= shape[axis]!;
  }
  const elements = elementCount(shape);
  if (!Number.isSafeInteger(elements) || offset + elements > storage.elements) {
    return fail(
      `its shape [${shape}] from element ${offset} on is more than its storage's ${storage.elements} elements; the file is damaged`,
    );
  }
  const begin = entry.begin + offset * width;
  return { dtype: storage.dtype, shape, begin, end: begin + elements * width };
}
