/** @file The golden directory: what lies where, and files that remember which of their tensors were looked at. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openSafetensors } from '@spft/safetensors/node';

/** A directory that is not laid out as golden values are; the message says what was looked for. */
export class GoldenError extends Error {
  readonly code = 'SPFT_GOLDEN';
  override readonly name = 'GoldenError';
}

export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** The tensors of one file, read whole. */
export class GoldenFile {
  readonly #seen = new Set<string>();

  private constructor(
    readonly path: string,
    private readonly tensors: ReadonlyMap<string, GoldenTensor>,
  ) {}

  static async open(path: string): Promise<GoldenFile> {
    const file = await openSafetensors(path);
    try {
      const tensors = new Map<string, GoldenTensor>();
      for (const name of file.names) {
        const { dtype, shape } = file.entry(name);
        tensors.set(name, { shape, data: dtype === 'I32' ? await file.int32(name) : await file.float32(name) });
      }
      return new GoldenFile(path, tensors);
    } finally {
      await file.close();
    }
  }

  get names(): string[] {
    return [...this.tensors.keys()];
  }

  get(name: string): GoldenTensor {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) {
      throw new GoldenError(`${this.path}: no tensor '${name}' among ${this.names.slice(0, 6).join(', ')}…`);
    }
    this.#seen.add(name);
    return tensor;
  }

  /** Names with this beginning, without it. */
  under(prefix: string): string[] {
    return this.names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  /** What nothing has asked for: golden values that a run forgot. */
  get unseen(): string[] {
    return this.names.filter((name) => !this.#seen.has(name));
  }
}

/** One model's golden values. */
export interface GoldenModel {
  readonly name: string;
  /** Directory of the model itself. */
  readonly model: string;
  readonly dense: string;
  readonly adapters: readonly { readonly name: string; readonly dir: string }[];
  readonly sparse: { readonly adapter: string; readonly files: readonly SparseFile[] } | null;
}

/** `<mode>_<semantics>_<split>.safetensors`. */
export interface SparseFile {
  readonly path: string;
  readonly name: string;
  readonly mode: string;
  readonly semantics: 'corrected' | 'reference';
  readonly split: boolean;
}

const ENTRIES = ['model', 'dense.safetensors', 'lora', 'dora', 'sparse'];

async function list(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).sort();
  } catch (error) {
    throw new GoldenError(
      `${dir}: cannot be listed (${(error as NodeJS.ErrnoException).code}); name a directory laid out like golden/seed0`,
    );
  }
}

function parseSparse(dir: string, file: string): SparseFile {
  const match = /^(.+)_(corrected|reference)_(split|nosplit)\.safetensors$/.exec(file);
  if (match === null) {
    throw new GoldenError(`${join(dir, file)}: wanted <mode>_<corrected|reference>_<split|nosplit>.safetensors`);
  }
  const [, mode, semantics, split] = match as unknown as [string, string, SparseFile['semantics'], string];
  return { path: join(dir, file), name: file.replace('.safetensors', ''), mode, semantics, split: split === 'split' };
}

/**
 * Finds every model below `dir`.
 * @throws GoldenError when there is none, or something lies there that no check covers.
 */
export async function findModels(dir: string): Promise<GoldenModel[]> {
  const models: GoldenModel[] = [];
  for (const name of await list(dir)) {
    const root = join(dir, name);
    if (!(await stat(root)).isDirectory()) {
      throw new GoldenError(`${root}: wanted a directory for each model, as in golden/seed0`);
    }
    const found = await list(root);
    const unknown = found.find((entry) => !ENTRIES.includes(entry));
    if (unknown !== undefined || !found.includes('model') || !found.includes('dense.safetensors')) {
      throw new GoldenError(
        `${root}: wanted model/, dense.safetensors and any of lora/, dora/, sparse/; found ${found.join(', ') || 'nothing'}`,
      );
    }
    const sparseDir = join(root, 'sparse');
    models.push({
      name,
      model: join(root, 'model'),
      dense: join(root, 'dense.safetensors'),
      adapters: ['lora', 'dora'].filter((m) => found.includes(m)).map((m) => ({ name: m, dir: join(root, m) })),
      sparse: found.includes('sparse')
        ? {
            adapter: join(sparseDir, 'adapter'),
            files: (await list(sparseDir)).filter((f) => f !== 'adapter').map((f) => parseSparse(sparseDir, f)),
          }
        : null,
    });
  }
  if (models.length === 0)
    throw new GoldenError(`${dir}: holds no model directories; wanted a layout like golden/seed0`);
  return models;
}
