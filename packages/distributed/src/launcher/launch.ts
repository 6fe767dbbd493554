/**
 * @file Who started this process, and which rank it is: out of the variables that torchrun, Open MPI, MPICH (and what speaks its PMI), and Slurm set.
 *
 * Kubeflow's trainer sets what torchrun reads (its `torch` policy) or runs mpirun (its `mpi` policy); its older PyTorchJob sets RANK, WORLD_SIZE,
 * MASTER_ADDR and MASTER_PORT, one process to a pod.
 */
import { DistributedError } from '../errors.js';
import { firstHost, tasksOnNode } from './slurm.js';
import { type Environment, readNumber } from './variables.js';

export type Launcher = 'torchrun' | 'openmpi' | 'mpich' | 'slurm' | 'environment';

/** What the launcher says of this process. */
export interface Launch {
  readonly launcher: Launcher;
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  /** Processes on this host; null where the launcher does not say. */
  readonly localSize: number | null;
  /** Where rank 0 can be met; null where the launcher does not say, as those of MPI. */
  readonly masterAddr: string | null;
  readonly masterPort: number | null;
  /** Secret that all ranks of a run have in their environment (`SPFT_TOKEN`); null where there is none. */
  readonly token: string | null;
  /** Tells this run, and this try of it, from others. No secret. */
  readonly runId: string;
}

interface Found {
  readonly launcher: Launcher;
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number | null;
  /** Variables that say so, for messages. */
  readonly by: readonly [rank: string, size: string];
}

/** How a launcher is called in messages. */
export const LAUNCHER_NAMES: Readonly<Record<Launcher, string>> = {
  torchrun: 'torchrun',
  openmpi: "Open MPI's mpirun",
  mpich: "MPICH's mpiexec (PMI)",
  slurm: 'srun (Slurm)',
  environment: 'RANK and WORLD_SIZE',
};

/**
 * @param env of the process.
 * @returns null where no launcher started this process, or it started this one alone.
 * @throws DistributedError with reason `launcher` where its variables are half set, hold no numbers, or contradict those of another launcher.
 */
export function detectLaunch(env: Environment): Launch | null {
  const torch = fromTorch(env);
  // Innermost: what else is set is of whatever started torchrun.
  const all =
    torch?.launcher === 'torchrun' ? [torch] : present([fromOpenMpi(env), fromPmi(env), fromSlurm(env), torch]);
  const [found, ...others] = all;
  if (found === undefined) return null;
  for (const other of others) {
    if (other.rank === found.rank && other.size === found.size) continue;
    throw new DistributedError(
      'launcher',
      `launchers contradict each other: ${described(found)}, but ${described(other)}. Unset those of the launcher that did not start these processes`,
    );
  }
  if (found.size === 1) return null;
  const { by: _, ...rest } = found;
  return { ...rest, ...addressOf(found, env), token: env.SPFT_TOKEN || null, runId: runIdOf(env) };
}

const present = <T>(items: readonly (T | null)[]): T[] => items.filter((item) => item !== null);

const described = ({ by: [rank, size], ...found }: Found): string =>
  `${rank} is ${found.rank} and ${size} is ${found.size} (${LAUNCHER_NAMES[found.launcher]})`;

function fromTorch(env: Environment): Found | null {
  const names = ['RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE'];
  if (names.every((name) => !env[name])) return null;
  const [rank, size] = both(env, 'RANK', 'WORLD_SIZE');
  const isTorchrun = Boolean(env.TORCHELASTIC_RUN_ID);
  if (isTorchrun) both(env, 'LOCAL_RANK', 'LOCAL_WORLD_SIZE');
  const local = readNumber(env, 'LOCAL_RANK', { below: size });
  return {
    ...{ launcher: isTorchrun ? 'torchrun' : 'environment', rank, size, by: ['RANK', 'WORLD_SIZE'] },
    // Without one, a process to a host.
    localRank: local ?? 0,
    localSize: readNumber(env, 'LOCAL_WORLD_SIZE', { from: (local ?? 0) + 1, to: size }) ?? (local === null ? 1 : null),
  };
}

function fromOpenMpi(env: Environment): Found | null {
  const prefix = 'OMPI_COMM_WORLD_';
  const names = ['RANK', 'SIZE', 'LOCAL_RANK', 'LOCAL_SIZE'].map((name) => prefix + name);
  if (names.every((name) => !env[name])) return null;
  const [rank, size] = both(env, names[0]!, names[1]!);
  both(env, names[2]!, names[3]!);
  return {
    ...{ launcher: 'openmpi', rank, size, by: [names[0]!, names[1]!] },
    localRank: readNumber(env, names[2]!, { below: size })!,
    localSize: readNumber(env, names[3]!, { from: 1, to: size })!,
  };
}

/** Hydra, Intel MPI and MVAPICH; Slurm sets the first two for `--mpi=pmi2`. */
function fromPmi(env: Environment): Found | null {
  if (!env.PMI_RANK && !env.PMI_SIZE) return null;
  const [rank, size] = both(env, 'PMI_RANK', 'PMI_SIZE');
  const local =
    readNumber(env, 'MPI_LOCALRANKID', { below: size }) ?? readNumber(env, 'SLURM_LOCALID', { below: size });
  const localSize =
    readNumber(env, 'MPI_LOCALNRANKS', { from: 1, to: size }) ?? (env.SLURM_LOCALID ? tasksOnNode(env) : null);
  if (local === null && size > 1) throw halfSet('PMI_RANK and PMI_SIZE', 'MPI_LOCALRANKID');
  return { launcher: 'mpich', rank, size, localRank: local ?? 0, localSize, by: ['PMI_RANK', 'PMI_SIZE'] };
}

/**
 * A task of `srun`: a script of `sbatch` and a shell of `salloc` have many of its variables, but no step's, and are one process.
 */
function fromSlurm(env: Environment): Found | null {
  if (!env.SLURM_STEP_ID || !env.SLURM_PROCID) return null;
  const sizeName = env.SLURM_STEP_NUM_TASKS ? 'SLURM_STEP_NUM_TASKS' : 'SLURM_NTASKS';
  const [rank, size] = both(env, 'SLURM_PROCID', sizeName);
  const localRank = readNumber(env, 'SLURM_LOCALID', { below: size });
  if (localRank === null && size > 1) throw halfSet(`SLURM_PROCID and ${sizeName}`, 'SLURM_LOCALID');
  return {
    ...{ launcher: 'slurm', rank, size, by: ['SLURM_PROCID', sizeName] },
    localRank: localRank ?? 0,
    localSize: tasksOnNode(env),
  };
}

/** Two that only make sense together. */
function both(env: Environment, rankName: string, sizeName: string): [rank: number, size: number] {
  for (const [name, other] of [
    [rankName, sizeName],
    [sizeName, rankName],
  ] as const) {
    if (env[name] && !env[other]) throw halfSet(name, other);
    if (!env[name] && !env[other]) throw halfSet('variables of a launcher', `${rankName} and ${sizeName}`);
  }
  const size = readNumber(env, sizeName, { from: 1 })!;
  return [readNumber(env, rankName, { below: size, belowName: sizeName })!, size];
}

const halfSet = (found: string, missing: string): DistributedError =>
  new DistributedError(
    'launcher',
    `${found} ${found.includes(' ') ? 'are' : 'is'} set, but not ${missing}: start all processes by torchrun, mpirun or srun, or unset ${found.startsWith('variables') ? 'them' : found}`,
  );

/** Ports that Slurm jobs without a `MASTER_PORT` meet at, by the job's number, so that two jobs on one host do not meet. */
const SLURM_PORTS = { first: 15_000, count: 10_000 };

function addressOf({ launcher, by }: Found, env: Environment): Pick<Launch, 'masterAddr' | 'masterPort'> {
  const masterAddr = env.MASTER_ADDR || null;
  const masterPort = readNumber(env, 'MASTER_PORT', { from: 1, to: 65_535 });
  if (launcher === 'torchrun' || launcher === 'environment') {
    const missing = [...(masterAddr === null ? ['MASTER_ADDR'] : []), ...(masterPort === null ? ['MASTER_PORT'] : [])];
    if (missing.length > 0) throw halfSet(by.join(' and '), missing.join(' and '));
  }
  if (masterAddr !== null && masterPort === null && launcher !== 'slurm') throw halfSet('MASTER_ADDR', 'MASTER_PORT');
  if (launcher !== 'slurm') return { masterAddr, masterPort: masterAddr === null ? null : masterPort };
  const job = readNumber(env, 'SLURM_JOB_ID', {}) ?? 0;
  return {
    masterAddr: masterAddr ?? firstHost(env),
    masterPort: masterPort ?? SLURM_PORTS.first + (job % SLURM_PORTS.count),
  };
}

/** Ranks of one run say the same; a restarted one says something else. */
function runIdOf(env: Environment): string {
  const names = [
    ...['TORCHELASTIC_RUN_ID', 'TORCHELASTIC_RESTART_COUNT', 'OMPI_MCA_ess_base_jobid', 'PMIX_NAMESPACE'],
    ...['SLURM_JOB_ID', 'SLURM_STEP_ID', 'SLURM_RESTART_COUNT'],
  ];
  return names
    .filter((name) => env[name])
    .map((name) => `${name}=${env[name]}`)
    .join(' ');
}
