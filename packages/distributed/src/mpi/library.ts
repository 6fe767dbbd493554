/**
 * @file The system's MPI through koffi: Open MPI, whose handles are addresses of its symbols, or one with MPICH's binary interface (MPICH, Intel MPI,
 * MVAPICH), whose handles are numbers. Bytes are all that is exchanged; sums are made here, in the order of ranks.
 */
import { createRequire } from 'node:module';
import type Koffi from 'koffi';
import { DistributedError } from '../errors.js';
import type { Environment } from '../launcher/variables.js';

/** A request, a communicator or a type: an address or a number. */
type MpiHandle = number | bigint;

/** What is used of it. Addresses of buffers must stay good until the request is through. */
export interface Mpi {
  readonly path: string;
  /** As the library says, in one line. */
  readonly version: string;
  readonly abi: 'openmpi' | 'mpich';
  /** Joins the ranks; once a process. */
  init(): { readonly rank: number; readonly size: number };
  /** The same number of bytes from and to each rank. */
  alltoall(send: Uint8Array, receive: Uint8Array, bytesEach: number): Request;
  allgather(send: Uint8Array, receive: Uint8Array, bytesEach: number): Request;
  broadcast(bytes: Uint8Array, root: number): Request;
  /** Leaves; waits for the other ranks to do so. */
  finalize(): void;
}

/** An operation of MPI under way. */
export interface Request {
  /** Moves it on. @returns whether it is through. */
  test(): boolean;
}

/** Names to try, best first. */
function mpiCandidates(env: Environment, kind: 'openmpi' | 'mpich' | null): readonly string[] {
  if (env.SPFT_MPI) return [env.SPFT_MPI];
  const openMpi = ['libmpi.so.40', 'libmpi.so.80', 'libmpi.so.20', '/usr/lib64/openmpi/lib/libmpi.so.40'];
  const mpich = ['libmpich.so.12', 'libmpi.so.12', '/usr/lib64/mpich/lib/libmpi.so.12'];
  if (kind === 'openmpi') return [...openMpi, 'libmpi.so', 'libmpi.dylib'];
  if (kind === 'mpich') return [...mpich, 'libmpi.so', 'libmpi.dylib'];
  return [...openMpi, ...mpich, 'libmpi.so', 'libmpi.dylib'];
}

/** What `MPI_Get_library_version` needs room for. */
const VERSION_BYTES = 8192;
const MPICH = { world: 0x44000000, byte: 0x4c00010d, statusIgnore: 1, errorsReturn: 0x54000001 };

/**
 * The first of the candidates that can be loaded. Nothing is initialised.
 * @throws DistributedError with reason `library`, with what each said.
 */
export function loadMpi(env: Environment, kind: 'openmpi' | 'mpich' | null): Mpi {
  const koffi = loadKoffi();
  const refused: string[] = [];
  for (const path of mpiCandidates(env, kind)) {
    try {
      return bind(koffi, path);
    } catch (error) {
      refused.push(`${path}: ${(error as Error).message.trim()}`);
    }
  }
  throw new DistributedError(
    'library',
    `no MPI can be loaded (${refused[0]}${refused.length > 1 ? `, and ${refused.length - 1} more names` : ''}): install it (apt-get install openmpi-bin, or mpich), or set SPFT_MPI to the path of its libmpi`,
  );
}

function loadKoffi(): typeof Koffi {
  try {
    return createRequire(import.meta.url)('koffi') as typeof Koffi;
  } catch (error) {
    throw new DistributedError(
      'library',
      `koffi, through which MPI is called, does not run here: ${(error as Error).message}`,
    );
  }
}

function bind(koffi: typeof Koffi, path: string): Mpi {
  // Open MPI's plugins look for its symbols in the process.
  const library = koffi.load(path, { global: true });
  const symbol = (name: string): bigint | null => {
    try {
      return BigInt(koffi.address(library.symbol(name, 'int')));
    } catch {
      return null;
    }
  };
  const world = symbol('ompi_mpi_comm_world');
  const abi = world === null ? 'mpich' : 'openmpi';
  const handle = abi === 'openmpi' ? 'uintptr_t' : 'int';
  const constants =
    abi === 'openmpi'
      ? {
          world: world!,
          byte: symbol('ompi_mpi_byte')!,
          statusIgnore: 0,
          errorsReturn: symbol('ompi_mpi_errors_return')!,
        }
      : MPICH;
  const declare = (name: string, parameters: string) => {
    const foreign = library.func(`int ${name}(${parameters})`) as unknown as (...args: unknown[]) => number;
    return (...args: unknown[]): void => {
      const code = foreign(...args);
      if (code !== 0) throw new DistributedError('failed', `${name} of ${path} failed with code ${code}`);
    };
  };
  const buffer = 'void *';
  const request = `_Inout_ ${handle} *request`;
  const functions = {
    version: declare('MPI_Get_library_version', '_Out_ uint8_t *version, _Out_ int *length'),
    initialized: declare('MPI_Initialized', '_Out_ int *flag'),
    init: declare('MPI_Init_thread', 'uintptr_t argc, uintptr_t argv, int required, _Out_ int *provided'),
    rank: declare('MPI_Comm_rank', `${handle} comm, _Out_ int *rank`),
    size: declare('MPI_Comm_size', `${handle} comm, _Out_ int *size`),
    errors: declare('MPI_Comm_set_errhandler', `${handle} comm, ${handle} handler`),
    alltoall: declare(
      'MPI_Ialltoall',
      `${buffer} send, int sent, ${handle} type, ${buffer} receive, int received, ${handle} type2, ${handle} comm, ${request}`,
    ),
    allgather: declare(
      'MPI_Iallgather',
      `${buffer} send, int sent, ${handle} type, ${buffer} receive, int received, ${handle} type2, ${handle} comm, ${request}`,
    ),
    broadcast: declare(
      'MPI_Ibcast',
      `${buffer} bytes, int count, ${handle} type, int root, ${handle} comm, ${request}`,
    ),
    test: declare('MPI_Test', `${request}, _Out_ int *flag, uintptr_t status`),
    finalize: declare('MPI_Finalize', ''),
  };
  const start = (buffers: readonly Uint8Array[], begin: (request: MpiHandle[]) => void): Request => {
    // Small arrays get an address that stays only when their buffer is asked for.
    for (const { buffer } of buffers) void buffer;
    const held = [0] as MpiHandle[];
    begin(held);
    const flag = [0];
    let through = false;
    return {
      test() {
        if (through || buffers.length === 0) return true;
        functions.test(held, flag, constants.statusIgnore);
        through = flag[0] !== 0;
        return through;
      },
    };
  };
  const { world: comm, byte } = constants;
  const bytes = new Uint8Array(VERSION_BYTES);
  const length = [0];
  functions.version(bytes, length);
  const version = Buffer.from(bytes.buffer, 0, length[0])
    .toString('latin1')
    .split(/[\n,]/)[0]!
    .replace(/\0.*$/s, '')
    .replace(/^MPICH Version:\s*/, 'MPICH ')
    .trim();
  return {
    ...{ path, version, abi },
    init() {
      const [flag, provided, rank, size] = [[0], [0], [0], [0]];
      functions.initialized(flag);
      // One thread calls it: FUNNELED.
      if (flag[0] === 0) functions.init(0, 0, 1, provided);
      functions.errors(comm, constants.errorsReturn);
      functions.rank(comm, rank);
      functions.size(comm, size);
      return { rank: rank[0]!, size: size[0]! };
    },
    alltoall: (send, receive, each) =>
      start([send, receive], (r) => functions.alltoall(send, each, byte, receive, each, byte, comm, r)),
    allgather: (send, receive, each) =>
      start([send, receive], (r) => functions.allgather(send, each, byte, receive, each, byte, comm, r)),
    broadcast: (data, root) => start([data], (r) => functions.broadcast(data, data.length, byte, root, comm, r)),
    finalize: () => functions.finalize(),
  };
}
