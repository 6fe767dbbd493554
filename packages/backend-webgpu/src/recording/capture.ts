/// <reference types="@webgpu/types" />
/** @file A run whose commands are kept: what stands in the place of WebGPU's encoders and queue and of the pool of buffers while it lasts. */
import type { BufferPool } from '../device/buffers.js';
import type { Pipeline } from '../device/pipelines.js';
import { CaptureError, type Command, Observation, type Space } from './observation.js';

/** Of offsets of uniform buffers, as every implementation allows. */
const ALIGNMENT = 256;

const keyOf = (size: number, usage: number) => `${size}_${usage}`;

export class Capture extends Observation {
  readonly commands: Command[] = [];
  /** Parameters of our dispatches, each at its offset. */
  readonly params: { readonly offset: number; readonly words: Uint32Array }[] = [];
  /** Tensors that were there before, and the buffer in which the recording will look for them. */
  readonly touched = new Map<object, GPUBuffer>();
  /** Parameters of tfjs's programs, written once: they are no other's while the recording lives. */
  readonly fixed: GPUBuffer[] = [];
  /** Buffers with numbers of the host, by the tensors that they were lent to. */
  readonly constants = new Map<object, GPUBuffer>();
  readonly #inUse = new Set<GPUBuffer>();
  /** As tfjs reads them of its BufferManager. */
  numBytesUsed = 0;
  numBytesAllocated = 0;

  constructor(
    inputs: ReadonlyMap<unknown, GPUBuffer>,
    private readonly space: Space,
    private readonly pool: BufferPool,
  ) {
    super(inputs);
  }

  override refuse(what: string): void {
    throw new CaptureError(what);
  }

  /** Whether a buffer is the recording's own. */
  owns(buffer: GPUBuffer): boolean {
    return this.space.all.has(buffer);
  }

  /** Buffers that are in use still. */
  get live(): number {
    return this.#inUse.size;
  }

  dispatch(
    pipeline: Pipeline,
    buffers: readonly GPUBuffer[],
    words: Uint32Array,
    groups: readonly [number, number, number],
  ) {
    const offset = this.params.length * ALIGNMENT;
    this.params.push({ offset, words: words.slice() });
    this.commands.push({ pipeline: pipeline.pipeline, groups, ours: { pipeline, buffers, offset } });
  }

  /** In the place of a BufferPool. */
  acquireBuffer(size: number, usage: number, mappedAtCreation = false): GPUBuffer {
    const bytes = Math.max(4, Math.ceil(size / 4) * 4);
    if (mappedAtCreation) throw new CaptureError('numbers came from the host');
    const buffer = this.space.free.get(keyOf(bytes, usage))?.pop() ?? this.pool.acquireBuffer(bytes, usage);
    this.space.all.add(buffer);
    this.#inUse.add(buffer);
    return buffer;
  }

  /** In the place of a BufferPool. What holds parameters is written when they are told, not when they are used: each has one of its own. */
  releaseBuffer(buffer: GPUBuffer, reuse = true): void {
    if (!this.#inUse.delete(buffer)) {
      this.pool.releaseBuffer(buffer, reuse);
      return;
    }
    if (buffer.usage & GPUBufferUsage.UNIFORM) this.fixed.push(buffer);
    else this.#free(buffer);
  }

  /**
   * A buffer with numbers that are the same in each step. Never one that recordings use in turn: another's step would write over it.
   * @param dataId the tensor that it is lent to.
   */
  constant(dataId: object, values: Int32Array | Float32Array): GPUBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = this.pool.acquireBuffer(values.byteLength, usage);
    this.constants.set(dataId, buffer);
    this.pool.device.queue.writeBuffer(buffer, 0, values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
    return buffer;
  }

  /** Ends the run: all but what is fixed may be another recording's. */
  close(): void {
    for (const buffer of this.#inUse) this.#free(buffer);
    this.#inUse.clear();
  }

  /** A constant's tensor outlives the run: its buffer is the tensor's from now on, and the recording will look for it there. */
  leave(dataId: object): void {
    this.touched.set(dataId, this.constants.get(dataId)!);
    this.constants.delete(dataId);
  }

  /** After `close`, when the recording is no more. */
  forget(): void {
    for (const buffer of this.fixed.splice(0)) this.#free(buffer);
    for (const buffer of this.constants.values()) this.pool.releaseBuffer(buffer);
    this.constants.clear();
  }

  #free(buffer: GPUBuffer): void {
    const key = keyOf(buffer.size, buffer.usage);
    const others = this.space.free.get(key);
    if (others) others.push(buffer);
    else this.space.free.set(key, [buffer]);
  }

  /** In the place of a queue: numbers are written at once, commands kept. */
  readonly queue = {
    submit: () => {},
    writeBuffer: (...args: Parameters<GPUQueue['writeBuffer']>) => this.pool.device.queue.writeBuffer(...args),
  } as unknown as GPUQueue;

  /** In the place of a command encoder, as far as tfjs and we use it in a step. */
  readonly encoder = {
    beginComputePass: () => this.#pass(),
    copyBufferToBuffer: (from: GPUBuffer, fromOffset: number, to: GPUBuffer, toOffset: number, size: number) => {
      this.note(`a copy of ${size} bytes`);
      this.commands.push({ from, fromOffset, to, toOffset, size });
    },
    finish: () => undefined,
  } as unknown as GPUCommandEncoder;

  #pass(): GPUComputePassEncoder {
    let [pipeline, bindGroup]: [GPUComputePipeline | null, GPUBindGroup | null] = [null, null];
    return {
      setPipeline: (given: GPUComputePipeline) => {
        pipeline = given;
      },
      setBindGroup: (_: number, given: GPUBindGroup) => {
        bindGroup = given;
      },
      dispatchWorkgroups: (x: number, y = 1, z = 1) => {
        this.commands.push({ pipeline: pipeline!, bindGroup: bindGroup!, groups: [x, y, z] });
      },
      end: () => {},
    } as unknown as GPUComputePassEncoder;
  }
}
