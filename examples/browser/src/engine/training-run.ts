/**
 * @file One run, in whatever has tfjs: the data as samples, and the trainer on a model with adapters (tuned-model.ts). The worker calls it in a browser; the test calls
 * it in Node and compares the losses.
 */
import type { Tokenizer } from '@spft/models';
import { adapterConfigText, adapterToSafetensors } from '@spft/peft';
import {
  type CheckpointStore,
  type DataRecord,
  type LogEntry,
  recordsOfText,
  type Sample,
  type SparsityMap,
  SparsityStatistics,
  type TokenizedSample,
  Trainer,
  type TrainerCallback,
  tokenizeRecords,
} from '@spft/trainer';
import type { RunData, RunSettings, StepEntry } from '../protocol.js';
import { type Tuned, templateOf } from './tuned-model.js';

/** What a person should know of their data although the rest of it can be used. */
type Notice = (text: string) => void;

/** The records of the data. @throws DatasetError when none can be used. */
export function recordsOf(data: RunData, onNotice: Notice = () => {}): DataRecord[] {
  const { records, badRows } = recordsOfText(data.text, data.name, { skipBadRows: true });
  const [first] = badRows;
  if (first) {
    onNotice(
      `${badRows.length} of ${records.length + badRows.length} rows cannot be used and are left out; the first, line ${first.line}: ${first.problem}`,
    );
  }
  return records;
}

/** The records as tokens. @throws DatasetError when no answer is left to learn from. */
export function samplesOf(
  records: readonly DataRecord[],
  tokenizer: Tokenizer,
  { maxLength }: Pick<RunSettings, 'maxLength'>,
  onNotice: Notice = () => {},
): TokenizedSample[] {
  const { samples, truncated, skipped } = tokenizeRecords(tokenizer, records, {
    template: templateOf(tokenizer),
    maxLength,
    unlabelled: 'skip',
  });
  if (truncated > 0) onNotice(`${truncated} samples are longer than ${maxLength} tokens and were cut`);
  if (skipped.length > 0) onNotice(`${skipped.length} samples have no answer left to learn from, and are left out`);
  return samples;
}

export interface RunOptions {
  readonly tuned: Tuned;
  readonly samples: readonly Sample[];
  readonly settings: RunSettings;
  readonly checkpoints: CheckpointStore;
  /** Go on from the last checkpoint, where there is one. */
  readonly resume: boolean;
  readonly signal: AbortSignal;
  readonly onBegin?: (history: readonly LogEntry[], step: number) => void;
  readonly onStep?: (entry: StepEntry) => void;
  readonly onMap?: (map: SparsityMap) => void;
  readonly onSaved?: (step: number) => void;
  readonly onNotice?: Notice;
  /** Between two steps: what else is to be done on this thread. */
  readonly between?: () => Promise<void>;
}

/**
 * Trains to the end, or until the signal is aborted, which leaves a checkpoint.
 * @throws TrainerError, or what the place for checkpoints throws.
 */
export async function train(options: RunOptions): Promise<{ status: 'finished' | 'paused'; step: number }> {
  const { tuned, samples, settings, checkpoints, onNotice = () => {} } = options;
  const { peft, spft } = tuned;
  const statistics = spft && new SparsityStatistics(spft.plan, { layerCount: peft.base.layerCount, every: 2 });
  const seconds: [time: number, tokens: number][] = [];
  const own: TrainerCallback = {
    onTrainBegin: ({ state }) => options.onBegin?.(state.logHistory, state.globalStep),
    onStepBegin: () => {
      seconds.push([performance.now(), 0]);
    },
    async onStepEnd({ state, loss, learningRate, tokens }) {
      const last = seconds.at(-1)!;
      seconds[seconds.length - 1] = [(performance.now() - last[0]) / 1000, tokens];
      options.onStep?.({
        step: state.globalStep,
        totalSteps: state.maxSteps,
        loss: loss ?? Number.NaN,
        learningRate,
        ...speedOf(seconds, state.maxSteps - state.globalStep),
      });
      if (statistics && state.globalStep % 4 === 0) options.onMap?.(statistics.map(256));
      await options.between?.();
    },
    onSave: ({ state }) => options.onSaved?.(state.globalStep),
  };
  try {
    const { interrupted, globalStep } = await new Trainer({
      model: spft ?? peft,
      samples,
      args: {
        maxSteps: settings.steps,
        perDeviceTrainBatchSize: settings.batchSize,
        learningRate: settings.learningRate,
        lrSchedulerType: 'cosine',
        warmupSteps: Math.min(5, settings.steps - 1),
        modelMaxLength: settings.maxLength,
        loggingSteps: 1,
        saveStrategy: 'steps',
        saveSteps: settings.saveEvery,
        saveTotalLimit: 2,
        seed: 0,
      },
      callbacks: [...(statistics ? [statistics] : []), own],
      checkpoints,
      checkpointFiles: async () => ({
        'adapter_config.json': adapterConfigText(peft.config),
        'adapter_model.safetensors': await adapterToSafetensors(peft),
      }),
      notify: onNotice,
      checkEveryStep: true,
      signal: options.signal,
    }).train({ resumeFromCheckpoint: options.resume ? 'auto' : false });
    if (statistics) options.onMap?.(statistics.map(256));
    return { status: interrupted ? 'paused' : 'finished', step: globalStep };
  } finally {
    statistics?.dispose();
    spft?.disable();
  }
}

/** Of the last steps, without the first, in which memory is laid out. */
function speedOf(
  seconds: readonly [number, number][],
  left: number,
): Pick<StepEntry, 'tokensPerSecond' | 'etaSeconds'> {
  const window = seconds.slice(seconds.length > 1 ? Math.max(1, seconds.length - 10) : 0);
  const time = window.reduce((sum, [one]) => sum + one, 0);
  const tokens = window.reduce((sum, [, one]) => sum + one, 0);
  if (!(time > 0)) return { tokensPerSecond: null, etaSeconds: null };
  return { tokensPerSecond: tokens / time, etaSeconds: (time / window.length) * left };
}
