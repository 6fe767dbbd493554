/// <reference types="@webgpu/types" />
/** @file A captured step: its commands with their bind groups, encoded anew for each step, and the results that it leaves in its buffers. */
import * as tf from '@tensorflow/tfjs';
import { BindGroups } from '../device/bind-groups.js';
import type { Capture } from './capture.js';
import { CaptureError, type Command, isCopy } from './observation.js';
import type { Inputs, InputsHost } from './step-inputs.js';

/** What recorded steps need of the backend. */
export interface RecorderHost extends InputsHost {
  /** The tensor's buffer, null where it has none; undefined where the tensor is no more. */
  knownBuffer(dataId: object): GPUBuffer | null | undefined;
  /** A new tensor with a buffer. */
  output(shape: readonly number[], dtype: tf.DataType): tf.TensorInfo;
  disposeData(dataId: object): boolean;
  check(): void;
  submit(encoder: GPUCommandEncoder): void;
}

interface Result {
  readonly buffer: GPUBuffer;
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
}

/** Of a submission: the GPU has nothing to do before the first, and each costs. */
const FIRST_COMMANDS = 64;
const MOST_COMMANDS = 512;

interface Ready {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly offsets: readonly number[];
  readonly groups: readonly [number, number, number];
}

type Encodable = Ready | Exclude<Command, { pipeline: unknown }>;

export class RecordedStep {
  readonly #commands: readonly Encodable[];
  readonly #params: GPUBuffer;
  readonly #capture: Capture;
  readonly #results: readonly Result[];
  /** Variables that it uses, and the tensors that they are: one that was given another is not where the recording looks, though the old one may live. */
  readonly #variables: readonly (readonly [variable: tf.Variable, dataId: object])[];

  /** @param capture closed; taken over. */
  constructor(device: GPUDevice, capture: Capture, results: readonly Result[]) {
    this.#capture = capture;
    this.#results = results;
    this.#variables = Object.values(tf.engine().registeredVariables).flatMap((variable) =>
      capture.touched.has(variable.dataId) ? [[variable, variable.dataId] as const] : [],
    );
    const size = Math.max(256, 256 * capture.params.length);
    this.#params = device.createBuffer({
      label: 'params',
      size,
      usage: GPUBufferUsage.UNIFORM,
      mappedAtCreation: true,
    });
    const words = new Uint32Array(this.#params.getMappedRange());
    for (const one of capture.params) words.set(one.words, one.offset / 4);
    this.#params.unmap();
    const bindGroups = new BindGroups(device, this.#params, Number.POSITIVE_INFINITY);
    this.#commands = capture.commands.map((command) => {
      if (isCopy(command)) return command;
      const { pipeline, groups, bindGroup, ours } = command;
      if (!ours) return { pipeline, groups, bindGroup: bindGroup!, offsets: [] };
      return { pipeline, groups, bindGroup: bindGroups.get(ours.pipeline, ours.buffers), offsets: [ours.offset] };
    });
  }

  /** Whether all that it uses is where it was. */
  isValid(host: RecorderHost): boolean {
    if (this.#variables.some(([variable, dataId]) => variable.dataId !== dataId)) return false;
    for (const [dataId, buffer] of this.#capture.touched) if (host.knownBuffer(dataId) !== buffer) return false;
    return true;
  }

  /** Does the step for the inputs of now; its results, the first `wanted` of them, are owned by the caller. */
  launch(host: RecorderHost, inputs: Inputs, wanted: number): tf.Tensor[] {
    host.check();
    const outputs: tf.TensorInfo[] = [];
    try {
      for (const { shape, dtype } of this.#results.slice(0, wanted)) outputs.push(host.output(shape, dtype));
      inputs.upload(host);
      this.#encode(host, outputs);
    } catch (error) {
      for (const { dataId } of outputs) host.disposeData(dataId);
      throw error;
    }
    return outputs.map((info) => tf.engine().makeTensorFromTensorInfo(info));
  }

  #encode(host: RecorderHost, outputs: readonly tf.TensorInfo[]): void {
    const { device } = host;
    let encoder = device.createCommandEncoder();
    let pass: GPUComputePassEncoder | null = null;
    let last: GPUComputePipeline | null = null;
    let [left, most] = [FIRST_COMMANDS, FIRST_COMMANDS];
    for (const command of this.#commands) {
      if (isCopy(command as Command)) {
        const { from, fromOffset, to, toOffset, size } = command as Exclude<Encodable, Ready>;
        pass?.end();
        pass = null;
        encoder.copyBufferToBuffer(from, fromOffset, to, toOffset, size);
        continue;
      }
      const { pipeline, bindGroup, offsets, groups } = command as Ready;
      if (!pass) {
        pass = encoder.beginComputePass();
        last = null;
      }
      if (pipeline !== last) pass.setPipeline(pipeline);
      last = pipeline;
      pass.setBindGroup(0, bindGroup, offsets as number[]);
      pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
      if (--left > 0) continue;
      pass.end();
      pass = null;
      host.submit(encoder);
      encoder = device.createCommandEncoder();
      most = Math.min(MOST_COMMANDS, 2 * most);
      left = most;
    }
    pass?.end();
    outputs.forEach((output, n) => {
      const { buffer, shape } = this.#results[n]!;
      const size = 4 * tf.util.sizeFromShape([...shape]);
      if (size > 0) encoder.copyBufferToBuffer(buffer, 0, host.bufferOf(output), 0, size);
    });
    host.submit(encoder);
  }

  end(): void {
    this.#capture.forget();
    this.#params.destroy();
  }
}

/** Where a captured run's results lie. @throws CaptureError where one was there before it. */
export function resultsOf(host: RecorderHost, capture: Capture, made: readonly tf.Tensor[]): Result[] {
  return made.map((tensor) => {
    const buffer = host.bufferOf(tensor);
    if (!capture.owns(buffer)) throw new CaptureError('one of its results was there before it');
    return { buffer, shape: tensor.shape, dtype: tensor.dtype };
  });
}
