/** @file The functions and constants of NCCL that are used. */
import { CudaUnavailableError } from '../errors.js';
import { bind, bindOptional, declareBytes, HostMemory, loadedFrom, type NativeFunction } from './native.js';

const SIGNATURES = {
  ncclGetVersion: 'void* version',
  ncclGetUniqueId: 'void* id',
  ncclCommInitRankConfig: 'void* communicator, int ranks, ncclUniqueId id, int rank, const void* config',
  ncclCommGetAsyncError: 'uint64_t communicator, void* state',
  ncclCommAbort: 'uint64_t communicator',
  ncclCommFinalize: 'uint64_t communicator',
  ncclCommDestroy: 'uint64_t communicator',
  ncclGroupStart: '',
  ncclGroupEnd: '',
  ncclAllReduce:
    'uint64_t from, uint64_t to, size_t count, int type, int operation, uint64_t communicator, uint64_t stream',
  ncclAllGather: 'uint64_t from, uint64_t to, size_t count, int type, uint64_t communicator, uint64_t stream',
  ncclBroadcast: 'uint64_t from, uint64_t to, size_t count, int type, int root, uint64_t communicator, uint64_t stream',
  ncclReduceScatter:
    'uint64_t from, uint64_t to, size_t count, int type, int operation, uint64_t communicator, uint64_t stream',
} as const;

export type NcclFunctionName = keyof typeof SIGNATURES;

/** Bytes of ncclUniqueId. */
export const UNIQUE_ID_BYTES = 128;
/** ncclDataType_t. */
export const NCCL_TYPE = { bytes: 1, f32: 7, bf16: 9 } as const;
export type NcclType = keyof typeof NCCL_TYPE;
/** ncclRedOp_t. */
export const NCCL_OPERATION = { sum: 0, max: 2 } as const;
export type NcclOperation = keyof typeof NCCL_OPERATION;
/** ncclResult_t. */
export const NCCL_SUCCESS = 0;
export const NCCL_IN_PROGRESS = 7;

/** The oldest that takes a config without blocking as it is written here. */
const OLDEST = [2, 18] as const;

export interface Nccl {
  readonly functions: Readonly<Record<NcclFunctionName, NativeFunction>>;
  readonly path: string;
  /** e.g. 2.27.7 */
  readonly version: string;
  /** What a result means, with what the library has to say of it. */
  describe(status: number): string;
}

/** @throws Error of the dynamic loader, CudaUnavailableError where the library is too old. */
export function bindNccl(path: string): Nccl {
  declareBytes('ncclUniqueId', UNIQUE_ID_BYTES);
  const functions = bind(path, SIGNATURES);
  const { memory } = new HostMemory(4);
  const status = functions.ncclGetVersion(memory);
  const code = memory.readInt32LE(0); // e.g. 22707
  const version = [Math.floor(code / 10000), Math.floor(code / 100) % 100, code % 100];
  if (status !== NCCL_SUCCESS || code < 100 * (100 * OLDEST[0] + OLDEST[1])) {
    throw new CudaUnavailableError(
      `NCCL at ${loadedFrom(path)} is ${version.join('.')}; ${OLDEST.join('.')} or newer is needed`,
      'pip install -U nvidia-nccl-cu13 (or -cu12, as the driver is)',
    );
  }
  const text = bindOptional(path, 'ncclGetErrorString', 'const char* NAME(int status)') as unknown as
    | ((status: number) => string)
    | null;
  const last = bindOptional(path, 'ncclGetLastError', 'const char* NAME(uint64_t communicator)') as unknown as
    | ((communicator: number) => string)
    | null;
  return {
    functions,
    path: loadedFrom(path),
    version: version.join('.'),
    describe: (status) => [text?.(status) ?? `ncclResult ${status}`, last?.(0)].filter(Boolean).join('; '),
  };
}

/**
 * ncclConfig_t as of 2.18, which later versions read too: nothing blocks, everything else as NCCL has it by itself.
 * @param blocks thread blocks of a collective at most; undefined for NCCL's choice.
 */
export function nonBlockingConfig(blocks?: number): Buffer {
  const UNDEFINED = -(2 ** 31);
  const { memory } = new HostMemory(48);
  memory.writeBigUInt64LE(48n, 0);
  memory.writeUInt32LE(0xcafebeef, 8);
  memory.writeUInt32LE(21805, 12);
  memory.writeInt32LE(0, 16); // blocking
  memory.writeInt32LE(UNDEFINED, 20); // blocks of a cluster
  memory.writeInt32LE(UNDEFINED, 24); // least blocks
  memory.writeInt32LE(blocks ?? UNDEFINED, 28); // most blocks
  memory.writeBigUInt64LE(0n, 32); // name of the network
  memory.writeInt32LE(UNDEFINED, 40); // whether splits share resources
  return memory;
}
