/** @file The one run that is kept: its settings and data, and its checkpoints beside them. A new run takes its place. */
import type { CheckpointStore } from '@spft/trainer';
import type { RunData, RunSettings, SavedRun } from '../protocol.js';
import { folderCheckpoints } from './checkpoints.js';
import { folderIfThere, makeFolder, readFile, removeIfThere, storageMissing, writeFile } from './opfs.js';

const FOLDER = 'run';
const FILE = 'run.json';

/** @returns null where there is none, or it was never completely written. */
export async function savedRun(): Promise<SavedRun | null> {
  if (storageMissing()) return null;
  const folder = await folderIfThere(await makeFolder(), FOLDER);
  const bytes = folder && (await readFile(folder, FILE));
  if (!folder || !bytes) return null;
  let kept: { settings: RunSettings; data: RunData };
  try {
    kept = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
  const { complete } = await (await checkpointsIn(folder)).list();
  return { ...kept, step: complete.at(-1)?.step ?? 0 };
}

/** Forgets the run before it. */
export async function keepRun(settings: RunSettings, data: RunData): Promise<CheckpointStore> {
  await forgetRun();
  const folder = await makeFolder(FOLDER);
  await writeFile(folder, FILE, new TextEncoder().encode(JSON.stringify({ settings, data })));
  return checkpointsIn(folder);
}

export async function savedCheckpoints(): Promise<CheckpointStore> {
  return checkpointsIn(await makeFolder(FOLDER));
}

export async function forgetRun(): Promise<void> {
  await removeIfThere(await makeFolder(), FOLDER);
}

const checkpointsIn = async (folder: FileSystemDirectoryHandle) =>
  folderCheckpoints(await folder.getDirectoryHandle('checkpoints', { create: true }));
