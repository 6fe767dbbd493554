import { describe, expect, it } from 'vitest';
import { detectLaunch } from './launch.js';

const TORCHRUN = {
  ...{ RANK: '3', WORLD_SIZE: '4', LOCAL_RANK: '1', LOCAL_WORLD_SIZE: '2', GROUP_RANK: '1' },
  ...{ MASTER_ADDR: 'node-a', MASTER_PORT: '29500', TORCHELASTIC_RUN_ID: 'job7', TORCHELASTIC_RESTART_COUNT: '1' },
};
const OPEN_MPI = {
  ...{ OMPI_COMM_WORLD_RANK: '2', OMPI_COMM_WORLD_SIZE: '3' },
  ...{ OMPI_COMM_WORLD_LOCAL_RANK: '0', OMPI_COMM_WORLD_LOCAL_SIZE: '1' },
};
const SRUN = {
  ...{ SLURM_JOB_ID: '412345', SLURM_STEP_ID: '0', SLURM_PROCID: '5', SLURM_STEP_NUM_TASKS: '6', SLURM_LOCALID: '1' },
  ...{ SLURM_STEP_NODELIST: 'gpu[03-04,09]-ib,login1', SLURM_STEP_TASKS_PER_NODE: '2(x2),1(x2)', SLURM_NODEID: '3' },
};

describe('detectLaunch()', () => {
  it('finds no launcher where none is', () => {
    expect(detectLaunch({})).toBeNull();
    expect(detectLaunch({ MASTER_ADDR: 'node-a', MASTER_PORT: '29500', PATH: '/bin' })).toBeNull();
  });

  it('reads the variables of torchrun', () => {
    expect(detectLaunch(TORCHRUN)).toMatchObject({
      ...{ launcher: 'torchrun', rank: 3, size: 4, localRank: 1, localSize: 2 },
      ...{ masterAddr: 'node-a', masterPort: 29_500, token: null },
      runId: 'TORCHELASTIC_RUN_ID=job7 TORCHELASTIC_RESTART_COUNT=1',
    });
  });

  it('reads the variables of a PyTorchJob of Kubeflow, one process to a pod', () => {
    const env = { RANK: '1', WORLD_SIZE: '2', MASTER_ADDR: 'job-master-0', MASTER_PORT: '23456', PET_NNODES: '2' };
    expect(detectLaunch(env)).toMatchObject({ launcher: 'environment', rank: 1, localRank: 0, localSize: 1 });
  });

  it('reads the variables of Open MPI, which has no address', () => {
    expect(detectLaunch(OPEN_MPI)).toMatchObject({
      ...{ launcher: 'openmpi', rank: 2, size: 3, localRank: 0, localSize: 1, masterAddr: null, masterPort: null },
    });
  });

  it('reads the variables of MPICH', () => {
    const env = { PMI_RANK: '1', PMI_SIZE: '2', MPI_LOCALRANKID: '1', MPI_LOCALNRANKS: '2' };
    expect(detectLaunch(env)).toMatchObject({ launcher: 'mpich', rank: 1, size: 2, localRank: 1, localSize: 2 });
  });

  it('reads the variables of srun: the first host is where rank 0 is, the port is the job’s', () => {
    expect(detectLaunch(SRUN)).toMatchObject({
      ...{
        launcher: 'slurm',
        rank: 5,
        size: 6,
        localRank: 1,
        localSize: 1,
        masterAddr: 'gpu03-ib',
        masterPort: 17_345,
      },
    });
    expect(detectLaunch({ ...SRUN, SLURM_NODEID: '1', MASTER_PORT: '12355' })).toMatchObject({
      ...{ localSize: 2, masterPort: 12_355 },
    });
  });

  it('takes a script of sbatch and a shell of salloc for one process', () => {
    expect(detectLaunch({ SLURM_JOB_ID: '7', SLURM_PROCID: '0', SLURM_NTASKS: '4', SLURM_LOCALID: '0' })).toBeNull();
    expect(detectLaunch({ SLURM_JOB_ID: '7', SLURM_NTASKS: '4' })).toBeNull();
  });

  it('takes one process of any launcher for one process', () => {
    expect(detectLaunch({ RANK: '0', WORLD_SIZE: '1' })).toBeNull();
    expect(detectLaunch({ ...OPEN_MPI, OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '1' })).toBeNull();
  });

  it('believes torchrun before what started torchrun', () => {
    expect(detectLaunch({ ...SRUN, ...OPEN_MPI, ...TORCHRUN })).toMatchObject({ launcher: 'torchrun', rank: 3 });
  });

  it('takes RANK and an address beside mpirun where they agree', () => {
    const env = { ...OPEN_MPI, RANK: '2', WORLD_SIZE: '3', MASTER_ADDR: 'node-a', MASTER_PORT: '4000' };
    expect(detectLaunch(env)).toMatchObject({ launcher: 'openmpi', rank: 2, masterAddr: 'node-a', masterPort: 4000 });
  });

  it('refuses launchers that contradict each other, by name', () => {
    expect(() => detectLaunch({ ...OPEN_MPI, RANK: '0', WORLD_SIZE: '3', MASTER_ADDR: 'a', MASTER_PORT: '1' })).toThrow(
      /OMPI_COMM_WORLD_RANK is 2 and OMPI_COMM_WORLD_SIZE is 3.*, but RANK is 0 and WORLD_SIZE is 3/,
    );
  });

  it.each([
    [{ RANK: '0' }, 'RANK is set, but not WORLD_SIZE'],
    [{ WORLD_SIZE: '2' }, 'WORLD_SIZE is set, but not RANK'],
    [{ LOCAL_RANK: '0' }, 'not RANK and WORLD_SIZE'],
    [{ RANK: '0', WORLD_SIZE: '2', MASTER_ADDR: 'a' }, 'RANK and WORLD_SIZE are set, but not MASTER_PORT'],
    [{ RANK: '0', WORLD_SIZE: '2' }, 'RANK and WORLD_SIZE are set, but not MASTER_ADDR and MASTER_PORT'],
    [{ ...TORCHRUN, LOCAL_RANK: '' }, 'LOCAL_WORLD_SIZE is set, but not LOCAL_RANK'],
    [{ OMPI_COMM_WORLD_SIZE: '2' }, 'OMPI_COMM_WORLD_SIZE is set, but not OMPI_COMM_WORLD_RANK'],
    [{ ...OPEN_MPI, OMPI_COMM_WORLD_LOCAL_RANK: '' }, 'but not OMPI_COMM_WORLD_LOCAL_RANK'],
    [{ ...OPEN_MPI, MASTER_ADDR: 'a' }, 'MASTER_ADDR is set, but not MASTER_PORT'],
    [{ PMI_RANK: '0' }, 'PMI_RANK is set, but not PMI_SIZE'],
    [{ PMI_RANK: '0', PMI_SIZE: '2' }, 'but not MPI_LOCALRANKID'],
    [{ ...SRUN, SLURM_STEP_NUM_TASKS: '' }, 'SLURM_PROCID is set, but not SLURM_NTASKS'],
    [{ ...SRUN, SLURM_LOCALID: '' }, 'but not SLURM_LOCALID'],
  ])('refuses variables that are half set: %o', (env, message) => {
    expect(() => detectLaunch(env)).toThrow(message);
  });

  it.each([
    [{ ...TORCHRUN, RANK: '4' }, /RANK: wanted a whole number from 0 to 3 \(below WORLD_SIZE\), found "4"/],
    [{ ...TORCHRUN, WORLD_SIZE: 'two' }, /WORLD_SIZE: wanted a whole number of at least 1, found "two"/],
    [{ ...TORCHRUN, MASTER_PORT: '70000' }, /MASTER_PORT: wanted a whole number from 1 to 65535/],
    [{ ...OPEN_MPI, OMPI_COMM_WORLD_LOCAL_SIZE: '9' }, /OMPI_COMM_WORLD_LOCAL_SIZE: wanted a whole number from 1 to 3/],
  ])('refuses what is no such number: %o', (env, message) => {
    expect(() => detectLaunch(env)).toThrow(message);
  });
});
