/**
 * @file Callbacks: the events of transformers' `TrainerCallback`, in its order, camelCased.
 *
 * `onTrainBegin`, then for each epoch `onEpochBegin`, for each step `onStepBegin`, `onSubstepEnd` after every micro-batch but the last,
 * `onPreOptimizerStep`, `onOptimizerStep`, `onStepEnd`, and where asked for `onLog`, `onEvaluate`, `onSave`; `onEpochEnd`, `onTrainEnd`.
 */
import type { TrainableModel } from '@spft/models';
import type { LogEntry, TrainerControl, TrainerState } from './state.js';
import type { StepArgs } from './training-args.js';

export interface TrainerContext {
  readonly args: StepArgs;
  readonly state: Readonly<TrainerState>;
  /** Set its flags to steer the loop. */
  readonly control: TrainerControl;
  readonly model: TrainableModel;
  /** Says something to the user without breaking the progress bar. */
  readonly notify: (message: string) => void;
}

/** What a step was made of. */
export interface StepContext extends TrainerContext {
  /** Real tokens of the step's batches. */
  readonly tokens: number;
  /** The step's loss where reading it is free, else the last one read; null before any was. */
  readonly loss: number | null;
  readonly learningRate: number;
}

type Event<Context> = (context: Context) => void | Promise<void>;

/** Implement what is needed; events are awaited, in the order of the callbacks. */
export interface TrainerCallback {
  onTrainBegin?: Event<TrainerContext>;
  onEpochBegin?: Event<TrainerContext>;
  onStepBegin?: Event<TrainerContext>;
  onSubstepEnd?: Event<TrainerContext>;
  /** Gradients are complete, variables not yet updated. */
  onPreOptimizerStep?: Event<TrainerContext>;
  onOptimizerStep?: Event<TrainerContext>;
  onStepEnd?: Event<StepContext>;
  onLog?: Event<TrainerContext & { readonly logs: LogEntry }>;
  onEvaluate?: Event<TrainerContext & { readonly metrics: LogEntry }>;
  onSave?: Event<TrainerContext & { readonly location: string }>;
  onEpochEnd?: Event<TrainerContext>;
  onTrainEnd?: Event<TrainerContext>;
}

type ContextOf<Name extends keyof TrainerCallback> = Parameters<NonNullable<TrainerCallback[Name]>>[0];

/** Tells every callback of an event, one after the other. */
export async function fire<Name extends keyof TrainerCallback>(
  callbacks: readonly TrainerCallback[],
  name: Name,
  context: ContextOf<Name>,
): Promise<void> {
  for (const callback of callbacks) {
    await (callback[name] as Event<ContextOf<Name>> | undefined)?.call(callback, context);
  }
}
