/**
 * @file Checkpoints in a folder of the origin-private file system, as a `CheckpointStore` of the trainer. Folders cannot be renamed there, so what makes a
 * checkpoint whole is its manifest, written last, with size and SHA-256 of each file: a tab that is closed in between leaves a folder without one, which is
 * passed over and removed by the next write. A step that is written again lies beside the old one until it is whole.
 */
import { type CheckpointEntry, type CheckpointFiles, type CheckpointStore, TrainerError } from '@spft/trainer';
import { folderIfThere, namesIn, readFile, removeIfThere, writeFile } from './opfs.js';

const MANIFEST = 'manifest.json';
const FOLDER = /^checkpoint-(\d+)(?:\.(\d+))?$/;

type Manifest = Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;

export async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param parent folder that holds nothing else. */
export function folderCheckpoints(parent: FileSystemDirectoryHandle): CheckpointStore {
  const locate = (step: number) => `checkpoint-${step}`;

  /** Folders of checkpoints: the last number is the writing's, 0 for the first of its step. */
  async function folders(): Promise<{ name: string; step: number; writing: number; whole: boolean }[]> {
    const found = [];
    for (const name of await namesIn(parent)) {
      const match = FOLDER.exec(name);
      if (!match) continue;
      const folder = await folderIfThere(parent, name);
      const whole = folder !== null && (await manifestOf(folder)) !== null;
      found.push({ name, step: Number(match[1]), writing: Number(match[2] ?? 0), whole });
    }
    return found.sort((a, b) => a.step - b.step || a.writing - b.writing);
  }

  return {
    locate,
    async write(step, files) {
      const before = await folders();
      for (const { name, whole } of before) if (!whole) await removeIfThere(parent, name);
      const same = before.filter((one) => one.step === step && one.whole);
      const last = same.at(-1);
      const name = last ? `${locate(step)}.${last.writing + 1}` : locate(step);
      const folder = await parent.getDirectoryHandle(name, { create: true });
      const manifest: Record<string, Manifest[string]> = {};
      try {
        for (const [file, bytes] of files) {
          await writeFile(folder, file, bytes);
          manifest[file] = { bytes: bytes.length, sha256: await sha256(bytes) };
        }
        await writeFile(folder, MANIFEST, new TextEncoder().encode(JSON.stringify(manifest)));
      } catch (cause) {
        await removeIfThere(parent, name).catch(() => {});
        // The storage's own error says what to do; the trainer adds nothing to it.
        throw cause;
      }
      for (const { name: old } of same) await removeIfThere(parent, old);
      return locate(step);
    },
    async list() {
      const found = await folders();
      const complete = new Map<number, CheckpointEntry>();
      for (const { step, whole } of found) if (whole) complete.set(step, { step, location: locate(step) });
      const notices = found
        .filter(({ whole }) => !whole)
        .map(({ name }) => `${name} was never finished, and is skipped`);
      return { complete: [...complete.values()], notices };
    },
    async read(location): Promise<CheckpointFiles> {
      const step = Number(FOLDER.exec(location)?.[1] ?? Number.NaN);
      const last = (await folders()).filter((one) => one.step === step && one.whole).at(-1);
      const damaged = (what: string) =>
        new TrainerError('checkpoint', `${location}: ${what}; resume from an earlier one`);
      if (!last) throw damaged('there is no complete checkpoint of that name');
      const folder = await parent.getDirectoryHandle(last.name);
      const files = new Map<string, Uint8Array>();
      for (const [file, { bytes, sha256: wanted }] of Object.entries((await manifestOf(folder))!)) {
        const content = await readFile(folder, file);
        if (content?.length !== bytes)
          throw damaged(`${file} has ${content?.length ?? 'no'} bytes, ${bytes} were written`);
        if ((await sha256(content)) !== wanted) throw damaged(`the SHA-256 of ${file} is not that which was written`);
        files.set(file, content);
      }
      return files;
    },
    async remove(location) {
      const step = Number(FOLDER.exec(location)?.[1] ?? Number.NaN);
      for (const one of await folders()) if (one.step === step) await removeIfThere(parent, one.name);
    },
  };
}

/** Null where there is none, or only a part of one. */
async function manifestOf(folder: FileSystemDirectoryHandle): Promise<Manifest | null> {
  const bytes = await readFile(folder, MANIFEST);
  if (bytes === null) return null;
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
  } catch {
    return null;
  }
}
