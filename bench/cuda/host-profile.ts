/** @file Where the host's time goes, by whose code takes it: samples of V8's profiler, each counted for the function that ran. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { dirname } from 'node:path';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
}

export interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
  /** Runs of what was profiled. */
  readonly runs: number;
}

/** Runs `f` so often and writes the profile to `file`. */
export async function profiled(file: string, runs: number, f: () => void): Promise<Profile> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: 100 });
  await session.post('Profiler.start');
  for (let n = 0; n < runs; n++) f();
  const { profile } = (await session.post('Profiler.stop')) as unknown as { profile: Omit<Profile, 'runs'> };
  session.disconnect();
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(profile));
  return { ...profile, runs };
}

export interface Share {
  readonly of: string;
  /** Of a run. */
  readonly ms: number;
  readonly share: number;
}

/** Whose a function is: a package, and of backend-cuda the file in src or the folder. A call of the driver counts for who makes it. */
function ownerOf({ functionName, url }: ProfileNode['callFrame']): string {
  const spft = /\/packages\/([^/]+)\/dist\/(?:([^/]+)\/)?([^/]+)\.js$/.exec(url);
  if (spft) {
    const [, name, folder, file] = spft;
    if (name !== 'backend-cuda') return name!;
    return `backend-cuda/${folder === 'device' ? `device/${file}` : (folder ?? file)}`;
  }
  if (/\/packages\/([^/]+)\//.test(url))
    return /\/packages\/([^/]+)\/dist\/(spft\/[^/]+|[^/]+)/.exec(url)!.slice(1).join('/');
  if (url.includes('@tensorflow')) return 'tfjs';
  return url === '' || url.startsWith('node:') ? functionName : 'the benchmark';
}

/** Most first. */
export function sharesOf({ nodes, samples, timeDeltas, runs }: Profile): Share[] {
  const owners = new Map(nodes.map(({ id, callFrame }) => [id, ownerOf(callFrame)]));
  const taken = new Map<string, number>();
  let all = 0;
  samples.forEach((id, n) => {
    const owner = owners.get(id)!;
    taken.set(owner, (taken.get(owner) ?? 0) + timeDeltas[n]!);
    all += timeDeltas[n]!;
  });
  return [...taken]
    .map(([of, microseconds]) => ({ of, ms: microseconds / 1000 / runs, share: microseconds / all }))
    .filter(({ share }) => share >= 0.001)
    .sort((a, b) => b.ms - a.ms);
}
