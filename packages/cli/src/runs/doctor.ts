/** @file A machine as far as training on it is concerned. */
import { statfs } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, freemem, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { type BackendReport, chooseBackend, probeBackends } from '@spft/backends';
import { detectLaunch, LAUNCHER_NAMES, loadMpi } from '@spft/distributed';
import { cacheDirOf, endpointOf, isOffline, tokenOf } from '@spft/models/node';
import { isExpected } from '../errors.js';
import { predictorCache } from '../steps/attach-sparsity.js';
import type { Output } from '../terminal/output.js';
import { bytes, pairs } from '../terminal/table.js';
import { VERSION } from '../version.js';

export interface MachineReport {
  readonly versions: Readonly<Record<string, string>>;
  readonly platform: string;
  readonly cpu: { readonly model: string; readonly cores: number; readonly usable: number };
  readonly memory: { readonly totalBytes: number; readonly freeBytes: number };
  /** Free bytes where results go, and where models are cached. Null where that cannot be told. */
  readonly disk: { readonly workingDirectory: number | null; readonly cache: number | null };
  readonly backends: readonly BackendReport[];
  /** What a command would use, and why; or why it would fail. */
  readonly chosen: { readonly name: string | null; readonly why: string };
  readonly hub: {
    readonly cache: string;
    readonly endpoint: string;
    readonly offline: boolean;
    /** Whether there is an access token. */
    readonly token: boolean;
  };
  readonly predictors: string;
  /** Several processes: what started this one, and the MPI that is there. */
  readonly ranks: { readonly launcher: string; readonly mpi: string };
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @param backend asked for by name; undefined for the best available. */
export async function examine(env: Environment, backend?: string): Promise<MachineReport> {
  const cache = cacheDirOf(undefined, env);
  const processors = cpus();
  return {
    versions: {
      spft: VERSION,
      node: process.versions.node,
      '@tensorflow/tfjs': versionOf('@tensorflow/tfjs'),
      '@tensorflow/tfjs-backend-wasm': versionOf('@tensorflow/tfjs-backend-wasm'),
    },
    platform: `${process.platform} ${process.arch} ${release()}`,
    cpu: {
      model: processors[0]?.model.trim() ?? 'unknown',
      cores: processors.length,
      usable: availableParallelism(),
    },
    memory: { totalBytes: totalmem(), freeBytes: freemem() },
    disk: { workingDirectory: await freeBytes(process.cwd()), cache: await freeBytes(cache) },
    backends: await probeBackends(),
    chosen: await choice(backend),
    hub: {
      cache,
      endpoint: endpointOf(undefined, env),
      offline: isOffline(env),
      token: (await tokenOf(undefined, env).catch(() => undefined)) !== undefined,
    },
    predictors: predictorCache(env),
    ranks: { launcher: launcherOf(env), mpi: mpiOf(env) },
  };
}

function launcherOf(env: Environment): string {
  try {
    const launch = detectLaunch(env);
    if (launch === null) return 'none: one process';
    const { launcher, rank, size, localRank } = launch;
    return `${LAUNCHER_NAMES[launcher]}: rank ${rank} of ${size}, ${localRank} on this host`;
  } catch (error) {
    if (!isExpected(error)) throw error;
    return error.message;
  }
}

/** The one that ranks started in this environment would take. */
function mpiOf(env: Environment): string {
  try {
    const launcher = mpiLauncherOf(env);
    const { version, path } = loadMpi(env, launcher);
    return `${version} (${path})`;
  } catch (error) {
    if (!isExpected(error)) throw error;
    return error.message;
  }
}

function mpiLauncherOf(env: Environment): 'openmpi' | 'mpich' | null {
  try {
    const launcher = detectLaunch(env)?.launcher;
    return launcher === 'openmpi' || launcher === 'mpich' ? launcher : null;
  } catch (error) {
    // What is wrong with the launcher's variables has a line of its own.
    if (!isExpected(error)) throw error;
    return null;
  }
}

async function choice(backend: string | undefined): Promise<MachineReport['chosen']> {
  try {
    return await chooseBackend(backend);
  } catch (error) {
    if (!isExpected(error)) throw error;
    return { name: null, why: error.message };
  }
}

/** In the nearest directory that exists. */
async function freeBytes(path: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch {
    return dirname(path) === path ? null : freeBytes(dirname(path));
  }
}

function versionOf(name: string): string {
  const require = createRequire(import.meta.url);
  try {
    return (require(`${name}/package.json`) as { version: string }).version;
  } catch {
    return 'not installed';
  }
}

/** The report as text. */
export function describeMachine(report: MachineReport, { colors }: Output): string {
  const { versions, cpu, memory, disk, backends, chosen, hub } = report;
  const free = (count: number | null) => (count === null ? 'unknown' : `${bytes(count)} free`);
  const title = (text: string) => colors.bold(text);
  const rows = backends.map(({ name, description, probe }): [string, string] => {
    if (probe.available) return [`${colors.green('+')} ${name}`, `${probe.detail}: ${description}`];
    const hint = probe.hint ? `; ${probe.hint}` : '';
    return [`${colors.dim('-')} ${name}`, `${probe.reason}${hint}`];
  });
  return [
    title('Versions'),
    pairs(Object.entries(versions), '  '),
    title('Machine'),
    pairs(
      [
        ['system', report.platform],
        ['processor', `${cpu.model}, ${cpu.cores} cores, ${cpu.usable} usable`],
        ['memory', `${bytes(memory.totalBytes)}, ${bytes(memory.freeBytes)} free`],
        ['disk here', free(disk.workingDirectory)],
        ['disk of the cache', free(disk.cache)],
      ],
      '  ',
    ),
    title('Backends, best first'),
    pairs(rows, '  '),
    chosen.name === null ? `${colors.red('  none would be chosen:')} ${chosen.why}` : `  chosen: ${chosen.why}`,
    title('Hugging Face hub'),
    pairs(
      [
        ['cache', hub.cache],
        ['endpoint', hub.endpoint],
        ['offline', hub.offline ? 'yes (HF_HUB_OFFLINE)' : 'no'],
        ['access token', hub.token ? 'there is one' : 'none; gated models need HF_TOKEN or hf auth login'],
      ],
      '  ',
    ),
    title('Several processes'),
    pairs(
      [
        ['launcher', report.ranks.launcher],
        ['MPI', report.ranks.mpi],
      ],
      '  ',
    ),
    title('Predictors'),
    `  ${report.predictors}`,
  ].join('\n');
}
