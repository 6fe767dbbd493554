/**
 * @file `@spft/distributed`: several processes that work as one. Who started them (`detectLaunch`), what they exchange (`Collective`,
 * `TensorCollective`), and on what (TCP, MPI, NCCL).
 */
export type {
  Collective,
  CollectiveName,
  Handle,
  ProcessGroup,
  Summable,
  TensorCollective,
  TensorHandle,
} from './collective/collective.js';
export { HostTensors } from './collective/host-tensors.js';
export { localCollectives } from './collective/local.js';
export { sumInRankOrder } from './collective/rank-order.js';
export { DistributedError, type DistributedErrorReason } from './errors.js';
export { type OpenedGroup, openProcessGroup } from './group/open.js';
export { detectLaunch, LAUNCHER_NAMES, type Launch, type Launcher } from './launcher/launch.js';
export { loadMpi, type Mpi } from './mpi/library.js';
export { gpuOfRank, hasNccl, type NcclGroup, NcclTensors, shardsOf } from './nccl/nccl-tensors.js';
export { HostShards } from './shards/host-shards.js';
