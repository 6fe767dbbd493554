/** @file What page and worker say to each other. The worker has model, run and storage; the page shows them. */
import type { LogEntry, SparsityMap } from '@spft/trainer';

/** Where a base model comes from. */
export type ModelChoice =
  | { readonly kind: 'quickstart' }
  | { readonly kind: 'hub'; readonly id: string; readonly endpoint: string }
  /** A GGUF file that was dropped on the page. */
  | { readonly kind: 'gguf'; readonly name: string };

export type Method = 'lora' | 'sparselora';

/** What a run is made with; kept beside its checkpoints, so that it can go on after a reload. */
export interface RunSettings {
  readonly model: ModelChoice;
  readonly method: Method;
  /** Of the worker's list. */
  readonly backend: string;
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly rank: number;
  /** Tokens; longer samples are cut. */
  readonly maxLength: number;
  /** Fraction of MLP channels dropped in all layers but the first, for context tokens. */
  readonly sparsity: number;
  /** Steps between two checkpoints. */
  readonly saveEvery: number;
}

/** The training data, as text: a JSON array or one object a line. */
export interface RunData {
  readonly name: string;
  readonly text: string;
}

/** Something that this browser has or lacks. */
export interface Capability {
  readonly name: 'WebGPU' | 'Threads' | 'SIMD' | 'Storage';
  readonly available: boolean;
  /** What it is, or what is missing and what to do about it. */
  readonly detail: string;
}

export interface BackendOption {
  readonly name: string;
  readonly title: string;
  /** Why it cannot run here, or null. */
  readonly missing: string | null;
}

/** A run that another visit, or this one, has left. */
export interface SavedRun {
  readonly settings: RunSettings;
  readonly data: RunData;
  /** Of the last checkpoint; 0 where there is none yet. */
  readonly step: number;
}

export interface Hello {
  readonly capabilities: readonly Capability[];
  readonly backends: readonly BackendOption[];
  readonly saved: SavedRun | null;
}

export interface RunEnd {
  readonly status: 'finished' | 'paused';
  readonly step: number;
  /** Numbers that were trained, and all of the model. */
  readonly trainable: number;
  readonly all: number;
}

/** What the page may ask for, with what comes back. */
export interface Requests {
  hello: { readonly ask: { readonly deviceMemory: number | null }; readonly give: Hello };
  start: {
    readonly ask: { readonly settings: RunSettings; readonly data: RunData; readonly file: File | null };
    readonly give: RunEnd;
  };
  /** Goes on with the run that is saved. */
  resume: { readonly ask: Record<never, never>; readonly give: RunEnd };
  /** The run ends after its step, with a checkpoint. */
  pause: { readonly ask: Record<never, never>; readonly give: null };
  /** Forgets the saved run. */
  forget: { readonly ask: { readonly models: boolean }; readonly give: null };
  chat: {
    readonly ask: { readonly text: string; readonly maxNewTokens: number };
    readonly give: { readonly before: string; readonly after: string };
  };
  adapter: { readonly ask: Record<never, never>; readonly give: { readonly file: Blob; readonly name: string } };
  gguf: {
    readonly ask: { readonly what: 'merged' | 'adapter'; readonly type: 'f16' | 'q8_0' };
    readonly give: { readonly file: Blob; readonly name: string };
  };
}

export type RequestName = keyof Requests;

/** What the worker tells by itself. */
export type WorkerEvent =
  /** What it is doing, for the status line; `fraction` where it is known. */
  | { readonly event: 'status'; readonly text: string; readonly fraction: number | null }
  | { readonly event: 'notice'; readonly text: string }
  /** A run begins, or goes on: what it has logged so far. */
  | {
      readonly event: 'run';
      readonly settings: RunSettings;
      readonly history: readonly LogEntry[];
      readonly step: number;
    }
  | { readonly event: 'step'; readonly entry: StepEntry }
  | { readonly event: 'map'; readonly map: SparsityMap }
  | { readonly event: 'saved'; readonly step: number }
  | { readonly event: 'token'; readonly side: 'before' | 'after'; readonly text: string };

export interface StepEntry {
  readonly step: number;
  readonly totalSteps: number;
  readonly loss: number;
  readonly learningRate: number;
  readonly tokensPerSecond: number | null;
  readonly etaSeconds: number | null;
}

/** An error as it travels. */
export interface Failure {
  readonly message: string;
  /** `SPFT_…` where it is one that says what to do. */
  readonly code: string | null;
}

export type ToWorker = {
  readonly [Name in RequestName]: { readonly id: number; readonly name: Name; readonly ask: Requests[Name]['ask'] };
}[RequestName];

export type FromWorker =
  | { readonly id: number; readonly give: unknown }
  | { readonly id: number; readonly failure: Failure }
  | WorkerEvent;
