/** @file The nodes of a graph that clear counters of its products one by one (counters.ts): found, and taken out. */
import type { Device } from '../device/device.js';
import type { DriverFunctions } from '../libraries/driver.js';
import { HostMemory } from '../libraries/native.js';
import type { Counters } from './counters.js';

/** CU_GRAPH_NODE_TYPE_MEMSET. */
const MEMSET = 2;
/** CUDA_MEMSET_NODE_PARAMS: address, pitch, value, bytes of an element, elements of a row, rows. */
const MEMSET_BYTES = 40;

/**
 * Takes the nodes out of a graph that set memory of `counters` to zero; what came after one then comes after what was before it. One whose neighbours the
 * driver does not tell stays, which does no harm.
 * @returns how many were taken out. @throws CudaError where the graph is half changed, and must not be launched.
 */
export function withoutClearing(device: Device, graph: number, counters: Counters): number {
  if (counters.used === 0) return 0;
  const { driver } = device;
  const clearing = (nodesOf(driver, 'cuGraphGetNodes', graph) ?? []).filter((node) => clears(driver, node, counters));
  let count = 0;
  for (const node of clearing) {
    const before = nodesOf(driver, 'cuGraphNodeGetDependencies', node);
    const after = nodesOf(driver, 'cuGraphNodeGetDependentNodes', node);
    const known = after?.map((next) => nodesOf(driver, 'cuGraphNodeGetDependencies', next));
    if (!before || !after || !known?.every((each) => each !== null)) continue;
    device.call('cuGraphDestroyNode', node);
    const edges = after.flatMap((to, n) =>
      before.filter((from) => !known[n]!.includes(from)).map((from) => [from, to] as const),
    );
    if (edges.length > 0) {
      const [from, to] = [listOf(edges.map(([from]) => from)), listOf(edges.map(([, to]) => to))];
      device.call('cuGraphAddDependencies', graph, from.address, to.address, edges.length);
    }
    count++;
  }
  return count;
}

/** Whether a node sets memory of `counters`, and no other, to zero. */
function clears(driver: DriverFunctions, node: number, { address, used }: Counters): boolean {
  const type = new HostMemory(4);
  if (driver.cuGraphNodeGetType(node, type.address) !== 0 || type.memory.readInt32LE(0) !== MEMSET) return false;
  const parameters = new HostMemory(MEMSET_BYTES);
  if (driver.cuGraphMemsetNodeGetParams(node, parameters.address) !== 0) return false;
  const { memory } = parameters;
  const long = (at: number) => Number(memory.readBigUInt64LE(at));
  const [from, pitch, value, element] = [long(0), long(8), memory.readUInt32LE(16), memory.readUInt32LE(20)];
  const [width, height] = [long(24), long(32)];
  const end = from + (height - 1) * pitch + width * element;
  return value === 0 && height > 0 && from >= address && end <= address + used;
}

/** The nodes of a graph, or those before or after a node; null where the driver does not tell. */
function nodesOf(
  driver: DriverFunctions,
  call: 'cuGraphGetNodes' | 'cuGraphNodeGetDependencies' | 'cuGraphNodeGetDependentNodes',
  of: number,
): number[] | null {
  const count = new HostMemory(8);
  if (driver[call](of, 0, count.address) !== 0) return null;
  const many = Number(count.memory.readBigUInt64LE(0));
  if (many === 0) return [];
  const nodes = new HostMemory(8 * many);
  if (driver[call](of, nodes.address, count.address) !== 0) return null;
  return Array.from({ length: many }, (_, n) => Number(nodes.memory.readBigUInt64LE(8 * n)));
}

function listOf(nodes: readonly number[]): HostMemory {
  const list = new HostMemory(8 * nodes.length);
  nodes.forEach((node, n) => {
    list.memory.writeBigUInt64LE(BigInt(node), 8 * n);
  });
  return list;
}
