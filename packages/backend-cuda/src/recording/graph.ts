/** @file A captured step: its graph, what it needs to stay, and the results that it leaves in its memory. */
import * as tf from '@tensorflow/tfjs';
import { driverError } from '../device/device.js';
import type { Block } from '../device/memory.js';
import { BYTES, type Physical, type TensorData } from '../storage.js';
import { withoutClearing } from './clearing-nodes.js';
import type { Counters } from './counters.js';
import type { RecorderHost } from './host.js';
import type { LaunchLog } from './launch-log.js';
import { CaptureError, type Recording } from './recording.js';
import type { Inputs } from './step-inputs.js';

interface Output {
  readonly address: number;
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
  readonly physical: Physical;
}

export interface Graph {
  /** Whether all that it uses is where it was. */
  isValid(): boolean;
  /** Does the step for the inputs of now; its results, the first `wanted` of them, are owned by the caller. */
  launch(backend: RecorderHost, inputs: Inputs, wanted: number): tf.Tensor[];
  end(backend: RecorderHost): void;
}

/**
 * Captures what `work` launches; nothing of it is done yet.
 * @param watched the same step, watched. @param fixed memory for what it uploads, taken over.
 * @throws CaptureError, CudaError, what `work` throws; then nothing was done, and `fixed` is the caller's.
 */
export function capture(
  backend: RecorderHost,
  recording: Recording,
  watched: LaunchLog,
  fixed: Block | null,
  work: () => tf.Tensor[],
): Graph {
  const { device, memoryPool } = backend;
  let made: tf.Tensor[] = [];
  let graph = 0;
  backend.settle();
  device.beginCapture();
  device.recording = recording;
  let results: Output[] | null = null;
  try {
    made = work();
    recording.asides.joinAll();
    const outputs = made.map((tensor) => outputOf(backend, tensor));
    backend.settle();
    results = outputs;
  } finally {
    tf.dispose(made);
    recording.asides.abandon();
    device.recording = null;
    if (results === null) backend.forgetGathers();
    graph = device.endCapture();
    for (const block of recording.freed) {
      block.users = 1;
      memoryPool.release(block);
    }
  }
  try {
    if (graph === 0) throw new CaptureError('the driver gave its capture up');
    const { live } = recording.arena!;
    if (live > 0) throw new CaptureError(`${live} tensors that it made outlived it`);
    const difference = watched.difference(recording.log);
    if (difference !== null) {
      throw new CaptureError(`it depends on something that is no input of it: ${difference}`);
    }
    for (const { offset, bytes } of recording.fixed) backend.uploadInputs(fixed!.address + offset, bytes);
    withoutClearing(device, graph, recording.counters);
    const executable = device.handle('cuGraphInstantiateWithFlags', graph, 0);
    return new CapturedGraph(memoryPool, executable, recording, results, fixed);
  } finally {
    if (graph !== 0) device.driver.cuGraphDestroy(graph);
  }
}

function outputOf(backend: RecorderHost, tensor: tf.Tensor): Output {
  const address = backend.address(tensor);
  const { block, physical } = backend.data.get(tensor.dataId);
  if (!block!.arena) throw new CaptureError('one of its results was there before it');
  return { address, shape: tensor.shape, dtype: tensor.dtype, physical };
}

class CapturedGraph implements Graph {
  readonly #executable: number;
  readonly #touched: ReadonlyMap<TensorData, Block>;
  readonly #derived: Recording['derived'];
  readonly #results: readonly Output[];
  readonly #fixed: Block | null;
  readonly #counters: Counters;

  constructor(
    memory: RecorderHost['memoryPool'],
    executable: number,
    { touched, derived, counters }: Recording,
    results: readonly Output[],
    fixed: Block | null,
  ) {
    this.#executable = executable;
    this.#touched = touched;
    this.#derived = derived;
    this.#results = results;
    this.#fixed = fixed;
    this.#counters = counters;
    // So that their addresses cannot become another's.
    for (const block of touched.values()) memory.hold(block);
    for (const { block } of derived) memory.hold(block);
  }

  isValid(): boolean {
    for (const [data, block] of this.#touched) if (!data.alive || data.block !== block) return false;
    return this.#derived.every(({ data, name, block }) => data.alive && data.derived?.get(name) === block);
  }

  launch(backend: RecorderHost, inputs: Inputs, wanted: number): tf.Tensor[] {
    const { device } = backend;
    const outputs: tf.TensorInfo[] = [];
    const results = this.#results.slice(0, wanted);
    try {
      for (const { shape, dtype, physical } of results) outputs.push(backend.output(shape, dtype, physical));
      inputs.upload(backend);
      backend.settle();
      const { address, used } = this.#counters;
      if (used > 0) device.call('cuMemsetD32Async', address, 0, used / 4, device.stream);
      const status = device.driver.cuGraphLaunch(this.#executable, device.stream);
      if (status !== 0) throw driverError('cuGraphLaunch', status);
      results.forEach(({ address, shape, physical }, n) => {
        backend.copy(address, backend.address(outputs[n]!), tf.util.sizeFromShape([...shape]) * BYTES[physical]);
      });
    } catch (error) {
      for (const info of outputs) backend.release(info);
      throw error;
    }
    return outputs.map((info) => tf.engine().makeTensorFromTensorInfo(info));
  }

  /** Waits for the last launch: what the graph uses may be another's afterwards. */
  end({ device, memoryPool }: RecorderHost): void {
    if (device.isOpen) {
      // An error is of the work, not of this.
      try {
        device.synchronize();
      } catch {}
      if (!device.abandoned) device.driver.cuGraphExecDestroy(this.#executable);
    }
    for (const block of this.#touched.values()) memoryPool.letGo(block);
    for (const { block } of this.#derived) memoryPool.letGo(block);
    if (this.#fixed) memoryPool.release(this.#fixed);
  }
}
