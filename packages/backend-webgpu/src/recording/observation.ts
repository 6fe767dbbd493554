/// <reference types="@webgpu/types" />
/**
 * @file One run of a step under observation: watched, when its commands are noted while they are done, or captured, when they are kept for later and nothing
 * is done yet. The backend asks it what a captured run must not do as usual.
 */
import type { Pipeline } from '../device/pipelines.js';

/** A step cannot be recorded as it is; the message says what it did. It is run by the host instead. */
export class CaptureError extends Error {
  readonly code = 'SPFT_WEBGPU_CAPTURE';
  override readonly name = 'CaptureError';
}

/** Buffers of all recordings of a recorder: steps run one after the other, so that they use the same. */
export interface Space {
  /** Those that no recording being made uses now, by size and usage. */
  readonly free: Map<string, GPUBuffer[]>;
  readonly all: Set<GPUBuffer>;
}

export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly groups: readonly [number, number, number];
  /** Of tfjs's own programs: complete. Of ours: made when the parameters have a buffer. */
  readonly bindGroup?: GPUBindGroup;
  readonly ours?: { readonly pipeline: Pipeline; readonly buffers: readonly GPUBuffer[]; readonly offset: number };
}

export interface Copy {
  readonly from: GPUBuffer;
  readonly fromOffset: number;
  readonly to: GPUBuffer;
  readonly toOffset: number;
  readonly size: number;
}

export type Command = Dispatch | Copy;

export const isCopy = (command: Command): command is Copy => 'from' in command;

export class Observation {
  /** What was launched, in words: two runs of a step that is a function of its inputs say the same. */
  readonly log: string[] = [];

  /** Inputs that were read on the device. */
  readonly read = new Set<unknown>();

  /** @param inputs the step's arrays, and where they lie. */
  constructor(readonly inputs: ReadonlyMap<unknown, GPUBuffer>) {}

  /** Where an input lies, which is read there; undefined for another array. */
  placeOf(array: unknown): GPUBuffer | undefined {
    const place = this.inputs.get(array);
    if (place) this.read.add(array);
    return place;
  }

  note(what: string): void {
    this.log.push(what);
  }

  /** What must not happen in a step that is recorded. @throws CaptureError in a captured run. */
  refuse(_what: string): void {}

  /** The first of what the other did otherwise, in words; null where it did the same. */
  difference({ log }: Observation): string | null {
    const at = this.log.findIndex((entry, n) => entry !== log[n]);
    if (at < 0 && log.length === this.log.length) return null;
    const [before, now] = at < 0 ? ['nothing', log[this.log.length]] : [this.log[at], log[at] ?? 'nothing'];
    return `it launched ${before}, and then ${now}`;
  }
}
