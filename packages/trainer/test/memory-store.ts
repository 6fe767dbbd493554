/** @file Checkpoints in memory. */
import type { CheckpointFiles, CheckpointStore } from '../src/checkpoint/store.js';

export interface MemoryStore extends CheckpointStore {
  readonly saved: Map<string, CheckpointFiles>;
}

export function memoryStore(): MemoryStore {
  const saved = new Map<string, CheckpointFiles>();
  const locate = (step: number) => `memory/checkpoint-${step}`;
  return {
    saved,
    locate,
    async write(step, files) {
      saved.set(locate(step), new Map([...files].map(([name, bytes]) => [name, bytes.slice()])));
      return locate(step);
    },
    async list() {
      const complete = [...saved.keys()].map((location) => ({ step: Number(location.split('-')[1]), location }));
      return { complete: complete.sort((a, b) => a.step - b.step), notices: [] };
    },
    async read(location) {
      const files = saved.get(location);
      if (!files) throw new Error(`memory store: nothing at ${location}`);
      return files;
    },
    async remove(location) {
      saved.delete(location);
    },
  };
}
