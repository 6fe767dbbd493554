/// <reference types="@webgpu/types" />
/**
 * @file tfjs's WebGPU backend with what these kernels need: dispatches of their own in its stream of commands, buffers that are given back, and
 * errors that are thrown instead of lost.
 */

import type { FrozenType, StepRecorder, StepRecorderOptions, StoringBackend } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { WebGPUError } from '../errors.js';
import { Capture } from '../recording/capture.js';
import type { Observation } from '../recording/observation.js';
import { WebGPUStepRecorder } from '../recording/step-recorder.js';
import type { ShaderName } from '../shaders.generated.js';
import type { DeviceFound } from './adapter.js';
import { Arena } from './arena.js';
import { BindGroups } from './bind-groups.js';
import { BufferPool } from './buffers.js';
import { type HalfType, Halves } from './halves.js';
import { checkInternals, internalsOf } from './internals.js';
import { type Constants, type Pipeline, Pipelines } from './pipelines.js';
import { type ProfileEntry, Profiler } from './profiler.js';
import { ReportedErrors } from './reported-errors.js';

/** Dispatches between submissions: each submission costs, and the GPU has nothing to do before the first. */
export const BATCH = 64;

/** A tensor, a list of whole numbers that does not change, an input of a recorded step, or a buffer. */
export type Binding = tf.TensorInfo | Int32Array | Float32Array | GPUBuffer;

export type Groups = readonly [x: number, y?: number, z?: number];

export class SpftWebGPUBackend extends WebGPUBackend implements StoringBackend {
  readonly features: ReadonlySet<string>;
  readonly pool: BufferPool;
  /** Frozen matrices in 16 bits. */
  readonly halves: Halves;
  readonly #arena: Arena;
  /** What is bound where a variant of a shader does not look at a buffer that it might write to. */
  readonly unused: readonly [GPUBuffer, GPUBuffer];
  readonly #pipelines: Pipelines;
  readonly #bindGroups: BindGroups;
  readonly #reported: ReportedErrors;
  #disposed = false;
  #profiler: Profiler | null = null;
  #observation: Observation | null = null;
  /** Whether steps are recorded where they can be. May be set to false. */
  records = true;
  /** Whether frozen matrices that come from a file in bf16 or float16 are kept so: for those that come from now on. May be set to false. */
  storesHalves = true;
  /** Dispatches of ours so far, and bind groups that were made for them. */
  dispatches = 0;

  constructor({ device, info }: DeviceFound) {
    super(device, info);
    checkInternals(this);
    this.features = device.features as unknown as ReadonlySet<string>;
    this.pool = new BufferPool(device);
    // Of tfjs's class, of which it has what tfjs uses.
    this.bufferManager = this.pool as unknown as WebGPUBackend['bufferManager'];
    this.halves = new Halves(this);
    this.#arena = new Arena(device);
    const word = () => device.createBuffer({ label: 'unused', size: 4, usage: GPUBufferUsage.STORAGE });
    this.unused = [word(), word()];
    this.#pipelines = new Pipelines(device);
    this.#bindGroups = new BindGroups(device, this.#arena.params);
    this.#reported = new ReportedErrors(device);
  }

  /** @throws WebGPUError of what WebGPU has reported since the last call. A lost device is reported each time. */
  check(): void {
    this.#reported.check();
  }

  /** Whether a frozen tensor that a file has in this type lies here in 16 bits; else it is float32. */
  keepsHalves(type: FrozenType, shape: readonly number[]): type is HalfType {
    return (type === 'BF16' || type === 'F16') && shape.length === 2 && !shape.includes(0) && this.storesHalves;
  }

  /** Bytes of a frozen tensor here: 16 bits in whole words, or a word for each number, also for each byte. */
  frozenBytes(type: FrozenType, shape: readonly number[]): number {
    const size = shape.reduce((product, n) => product * n, 1);
    return 4 * Math.max(1, this.keepsHalves(type, shape) ? Math.ceil(size / 2) : size);
  }

  /** The largest tensor that this device can have, in bytes. */
  get largestTensor(): number {
    return this.pool.largest;
  }

  /** What counts the device's memory, as `spft speed` asks for it. */
  get memoryPool(): Pick<BufferPool, 'peakBytes' | 'resetPeak'> {
    return this.pool;
  }

  get isProfiling(): boolean {
    return this.#profiler !== null;
  }

  get bindGroupsMade(): number {
    return this.#bindGroups.made;
  }

  /** The tensor's buffer, with its values in it. @throws Error for a tensor in 16 bits: a mistake of ours. */
  bufferOf(info: tf.TensorInfo): GPUBuffer {
    if (this.halves.codeOf(info) !== 0)
      throw new Error('internal: a tensor in 16 bits, which was asked for in float32');
    this.uploadToGPU(info.dataId);
    return this.tensorMap.get(info.dataId).resource as GPUBuffer;
  }

  /**
   * Runs a shader: `@group(0)` has its parameters at binding 0 and `bindings` from 1 on. A tensor in 16 bits among them is given to it in float32.
   * @param params words of the uniform buffer.
   * @param about what a profile says beside the shader's name.
   * @throws Error for a tensor in 16 bits that the shader writes to: it is frozen.
   */
  dispatch(
    shader: ShaderName,
    constants: Constants,
    params: Uint32Array,
    bindings: readonly Binding[],
    groups: Groups,
    about = '',
  ): void {
    this.check();
    const pipeline = this.#pipelines.get(shader, constants);
    this.halves.requireReadOnly(pipeline, bindings);
    this.halves.inFloat32(bindings, (plain) => this.#dispatch(pipeline, params, plain, groups, about));
  }

  #dispatch(
    pipeline: Pipeline,
    params: Uint32Array,
    bindings: readonly Binding[],
    [x, y = 1, z = 1]: Groups,
    about: string,
  ): void {
    if (!this.#arena.hasRoom()) this.flush();
    // What is uploaded goes into the stream of commands before the pass.
    const buffers = bindings.map((one) =>
      ArrayBuffer.isView(one) ? this.#listOf(one) : 'dataId' in one ? this.bufferOf(one) : one,
    );
    this.#observation?.note(`${pipeline.name} on ${x} × ${y} × ${z} with ${params.join(' ')}`);
    if (this.#observation instanceof Capture) {
      this.#observation.dispatch(pipeline, buffers, params, [x, y, z]);
      return;
    }
    const bindGroup = this.#bindGroups.get(pipeline, buffers);
    const offset = this.#arena.put(params);
    const internals = internalsOf(this);
    this.ensureCommandEncoderReady();
    if (this.#profiler) this.endComputePassEncoder();
    internals.computePassEncoder ??= internals.commandEncoder!.beginComputePass(
      this.#profiler?.pass(`${pipeline.name} ${about}`.trim()),
    );
    const pass = internals.computePassEncoder;
    pass.setPipeline(pipeline.pipeline);
    pass.setBindGroup(0, bindGroup, [offset]);
    pass.dispatchWorkgroups(x, y, z);
    if (this.#profiler) this.endComputePassEncoder();
    this.dispatches++;
    if (++internals.dispatchCountInPass >= BATCH) this.flush();
  }

  /** The list's buffer. @throws CaptureError in a captured run for one that is no input, as it may be of another batch in the next. */
  #listOf(numbers: Int32Array | Float32Array): GPUBuffer {
    const place = this.#observation?.placeOf(numbers);
    if (place) return place;
    this.#observation?.refuse(`a list of ${numbers.length} numbers came from the host`);
    return this.#arena.list(numbers);
  }

  override runWebGPUProgram(...args: Parameters<WebGPUBackend['runWebGPUProgram']>): tf.TensorInfo {
    const [program, inputs, outputDtype, uniforms, output] = args;
    this.#profiler?.count(`tfjs ${program.constructor.name}`);
    if (this.#observation) {
      const shapes = inputs.map(({ shape }) => `[${shape}]`).join(' ');
      this.#observation.note(
        `tfjs ${program.shaderKey} on ${shapes} for [${program.outputShape}] ${JSON.stringify(uniforms ?? [])}`,
      );
    }
    return this.halves.inFloat32(inputs, (plain) =>
      super.runWebGPUProgram(program, [...plain], outputDtype, uniforms, output),
    );
  }

  /** What `f` runs, by shader, with the GPU's time where the adapter has a clock. */
  async profile(f: () => void): Promise<ProfileEntry[]> {
    this.flush();
    const profiler = new Profiler(this.device);
    this.#profiler = profiler;
    try {
      f();
    } finally {
      this.#profiler = null;
    }
    this.flush();
    return profiler.entries();
  }

  /** A recorder of steps, owned by the caller; null where it is switched off. */
  recordSteps(options?: StepRecorderOptions): StepRecorder | null {
    return this.records ? new WebGPUStepRecorder(this, options) : null;
  }

  /** Whether an array is an input of the step that is recorded now: its numbers are to be read on the device. */
  isStepInput(array: unknown): boolean {
    return this.#observation?.inputs.has(array) ?? false;
  }

  /** Runs `f` watched, or captured: then nothing of it is done. */
  observe<T>(observation: Observation, f: () => T): T {
    if (this.#observation) throw new Error('internal: a recorded step within another');
    this.flush();
    const { queue } = this;
    this.#observation = observation;
    if (observation instanceof Capture) {
      this.queue = observation.queue;
      this.bufferManager = observation as unknown as WebGPUBackend['bufferManager'];
    }
    try {
      return f();
    } finally {
      // What was disposed of meanwhile is given back with the commands.
      this.ensureCommandEncoderReady();
      this.flush();
      this.#observation = null;
      this.queue = queue;
      this.bufferManager = this.pool as unknown as WebGPUBackend['bufferManager'];
    }
  }

  override ensureCommandEncoderReady(): void {
    if (this.#observation instanceof Capture) internalsOf(this).commandEncoder ??= this.#observation.encoder;
    else super.ensureCommandEncoderReady();
  }

  override shouldExecuteOnCPU(...args: Parameters<WebGPUBackend['shouldExecuteOnCPU']>): boolean {
    // What the host computes of inputs is not computed in the next step.
    return this.#observation === null && super.shouldExecuteOnCPU(...args);
  }

  override uploadToGPU(dataId: object): void {
    const observation = this.#observation;
    if (observation) this.#uploadObserved(this.tensorMap.get(dataId), dataId, observation);
    super.uploadToGPU(dataId);
  }

  /** Of a tensor that a recorded step uses: inputs lie where they always do, numbers of the host must be the same in each step. */
  #uploadObserved(data: ReturnType<WebGPUBackend['tensorMap']['get']>, dataId: object, observation: Observation): void {
    const { resource, values } = data;
    const capture = observation instanceof Capture ? observation : null;
    if (resource) {
      const isOwn = capture?.owns(resource as GPUBuffer) || data.external;
      if (capture && !isOwn) capture.touched.set(dataId, resource as GPUBuffer);
      return;
    }
    if (!values || values.length === 0) return;
    const place = observation.placeOf(values);
    if (!place && values.length > 1) observation.refuse(`an array of ${values.length} numbers came from the host`);
    if (!place && values.length === 1) observation.note(`the number ${values[0]}`);
    if (!place && !capture) return;
    const numbers = Array.from(values as ArrayLike<number>);
    const typed = () => (data.dtype === 'float32' ? Float32Array.from(numbers) : Int32Array.from(numbers));
    data.resource = place ?? capture!.constant(dataId, typed());
    data.external = true;
    data.values = null as unknown as tf.BackendValues;
  }

  /** The tensor's buffer, null where it has none; undefined where the tensor is no more. */
  knownBuffer(dataId: object): GPUBuffer | null | undefined {
    if (!this.tensorMap.has(dataId)) return undefined;
    return (this.tensorMap.get(dataId).resource as GPUBuffer | undefined) ?? null;
  }

  /** Gives a buffer that was lent to a tensor to the tensor. */
  adopt(dataId: object): void {
    this.tensorMap.get(dataId).external = false;
  }

  /** A new tensor with a buffer. */
  output(shape: readonly number[], dtype: tf.DataType): tf.TensorInfo {
    const info = this.makeTensorInfo([...shape], dtype);
    this.uploadToGPU(info.dataId);
    return info;
  }

  submit(encoder: GPUCommandEncoder): void {
    this.queue.submit([encoder.finish()]);
  }

  /** Sends off what was encoded. */
  flush(): void {
    if (internalsOf(this).commandEncoder === null) return;
    this.endComputePassEncoder();
    this.submitQueue();
  }

  override submitQueue(): void {
    if (this.#observation instanceof Capture) {
      super.submitQueue();
      return;
    }
    this.#arena.send();
    super.submitQueue();
    this.#arena.submitted();
    this.pool.trim();
  }

  override async read(dataId: object): Promise<tf.BackendValues> {
    this.check();
    this.#observation?.refuse('a tensor was read by the host');
    const data = this.tensorMap.get(dataId);
    // Its buffer has a word all the same, as WebGPU binds no empty one.
    if (data?.shape.includes(0)) return data.dtype === 'float32' ? new Float32Array(0) : new Int32Array(0);
    if (this.halves.codeOf({ dataId }) !== 0) {
      const plain = this.halves.float32Of(dataId, data.shape);
      return this.read(plain.dataId).finally(() => this.disposeData(plain.dataId));
    }
    const values = await super.read(dataId).catch((cause: unknown) => this.#reported.throwLost(cause));
    this.#forgetRead(dataId);
    this.check();
    return values;
  }

  override readSync(dataId: object): tf.BackendValues {
    this.check();
    this.#observation?.refuse('a tensor was read by the host');
    const { values, shape, dtype } = this.tensorMap.get(dataId);
    if (!values && dtype !== 'string' && typeof OffscreenCanvas === 'undefined') {
      throw new WebGPUError(
        'sync-read',
        'a tensor on the GPU was read by dataSync() or arraySync(), which WebGPU does not have here; read it by await tensor.data()',
      );
    }
    if (this.halves.codeOf({ dataId }) !== 0) {
      return this.halves.inFloat32([{ dataId, shape, dtype }], ([plain]) => this.readSync(plain!.dataId));
    }
    const read = super.readSync(dataId);
    this.#forgetRead(dataId);
    return read;
  }

  override readToGPU(dataId: object): tf.GPUData {
    this.check();
    if (this.halves.codeOf({ dataId }) === 0) return super.readToGPU(dataId);
    const { shape, dtype } = this.tensorMap.get(dataId);
    return this.halves.inFloat32([{ dataId, shape, dtype }], ([plain]) => super.readToGPU(plain!.dataId));
  }

  /** tfjs keeps what was read for the next time; but the optimizers' kernels write where a tensor lies. */
  #forgetRead(dataId: object): void {
    const data = this.tensorMap.get(dataId) as { values: unknown; resource?: unknown } | undefined;
    if (data?.resource) data.values = null;
  }

  override dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#reported.end();
    super.dispose();
    this.#arena.dispose();
    this.device.destroy();
  }
}
