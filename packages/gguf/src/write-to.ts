/** @file Writing a file to anything that takes bytes at places, one tensor in memory at a time: a file on a disk, or in a page's storage. */
import type { MetadataEntries } from './metadata.js';
import { type Layout, layoutGguf, requireBytes, type TensorSpec } from './serialize.js';

/** A tensor to write, whose bytes are made when its turn comes. */
export interface LazyGgufTensor extends TensorSpec {
  readonly data: () => Promise<Uint8Array>;
}

/** Where a file's bytes go. */
export interface ByteSink {
  /** Takes all of them, or throws. @param at byte of the file at which they begin. */
  write(bytes: Uint8Array, at: number): Promise<void> | void;
}

/**
 * Writes a whole file. Whether it is there wholly or not at all is the sink's affair.
 * @returns how many bytes it has.
 * @throws GgufError when data do not fit their tensor; what the sink throws.
 */
export async function writeGgufTo(
  sink: ByteSink,
  metadata: MetadataEntries,
  tensors: ReadonlyMap<string, LazyGgufTensor>,
  file?: string,
): Promise<number> {
  const layout = layoutGguf(metadata, tensors, file);
  const end = await writeLayout(sink, layout, tensors, file);
  // Padding behind the last tensor belongs to the file too.
  if (end < layout.fileBytes) await sink.write(new Uint8Array(layout.fileBytes - end), end);
  return layout.fileBytes;
}

/** Head and tensors. @returns where the last tensor ends. */
export async function writeLayout(
  sink: ByteSink,
  { head, places }: Layout,
  tensors: ReadonlyMap<string, LazyGgufTensor>,
  file?: string,
): Promise<number> {
  await sink.write(head, 0);
  let end = head.length;
  for (const [tensor, { data }] of tensors) {
    const { begin, bytes } = places.get(tensor)!;
    const made = await data();
    requireBytes(tensor, made, bytes, file);
    await sink.write(made, begin);
    end = begin + bytes;
  }
  return end;
}
