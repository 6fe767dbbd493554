/**
 * @file The loop: setup, epochs, steps, from top to bottom. What a step consists of lives in the files beside it.
 *
 * The order of events, the count of steps and the meaning of the training keys are those of transformers' Trainer, which upstream uses.
 * Accumulated micro-batches are normalised by the labelled tokens of the whole step, so they equal one large batch.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import type { DenseTokens } from '../batch/collate.js';
import { isSampleSource, preparedSource, type SampleSource } from '../batch/sample-source.js';
import { type PreparedSample, prepareSamples } from '../batch/samples.js';
import { betterMetric } from '../checkpoint/best-metric.js';
import type { DataIdentity } from '../checkpoint/checkpoint.js';
import { requireFiniteVariables } from '../checkpoint/finite.js';
import { CheckpointKeeper, type KeptParts } from '../checkpoint/keeper.js';
import { sharedStore } from '../checkpoint/shared-store.js';
import { NonFiniteError } from '../errors.js';
import { evaluateLoss } from '../evaluation/evaluate-loss.js';
import { ProgressCallback } from '../record/progress.js';
import { StepRecord } from '../record/step-record.js';
import { fire, type TrainerCallback, type TrainerContext } from './callbacks.js';
import { DefaultFlowCallback } from './flow-callback.js';
import { readsAreFree } from './host-reads.js';
import { createOptimizer, type Optimizer } from './optimizer.js';
import { broadcastJson, type Ranks } from './ranks.js';
import { checkOptions, checkRanks } from './run-checks.js';
import { epochSteps, planRun, type RunPlan } from './run-plan.js';
import { learningRateFactor, type Schedule, scheduleParameters, warmupSteps } from './schedule.js';
import { SpftCallback } from './spft-callback.js';
import { initialState, type LogEntry, type TrainerControl, type TrainerState } from './state.js';
import { StepClock } from './step-clock.js';
import { StepRunner } from './step-runner.js';
import { StopVote } from './stop-vote.js';
import { TRAINER_OPTIONS, type TrainerOptions, type TrainOutput } from './trainer-options.js';
import { resolveArgs, type StepArgs, stepsOf } from './training-args.js';

/** Fine-tunes what is trainable in a model. One trainer makes one run. */
export class Trainer {
  readonly args: StepArgs;
  readonly plan: RunPlan;
  readonly schedule: Schedule;
  readonly clock = new StepClock();
  readonly control: TrainerControl;
  state: TrainerState;

  readonly #options: TrainerOptions;
  readonly #samples: SampleSource;
  readonly #evalSamples: readonly PreparedSample[] | null;
  readonly #callbacks: readonly TrainerCallback[];
  readonly #data: DataIdentity;
  readonly #notify: (message: string) => void;
  readonly #ranks: Ranks | null;
  readonly #stop: StopVote;
  readonly #record: StepRecord;
  readonly #denseTokens: DenseTokens | undefined;
  readonly #keeper: CheckpointKeeper;
  #optimizer: Optimizer | null = null;
  #runner: StepRunner | null = null;
  #loggedSteps = 0;

  /** @throws TrainerError when arguments or samples cannot be used. */
  constructor(options: TrainerOptions) {
    assertKnownOptions('Trainer', options, TRAINER_OPTIONS);
    const { model, longSamples, unlabelledSamples, progress, callbacks = [] } = options;
    this.#options = options;
    const ranks = options.ranks && options.ranks.size > 1 ? options.ranks : null;
    this.#ranks = ranks;
    this.#record = new StepRecord(ranks);
    this.#stop = new StopVote(ranks, options.signal, options.checkEveryStep ?? readsAreFree());
    const args = resolveArgs(options.args ?? {});
    this.#notify =
      options.notify ?? (progress ? (message) => progress.note(message) : (message) => console.warn(message));

    const { modelMaxLength: maxLength, saveTotalLimit: limit } = args;
    const rules = { maxLength, vocabSize: model.vocabSize, longSamples, unlabelledSamples };
    const { samples } = options;
    this.#samples = isSampleSource(samples) ? samples : preparedSource(samples, rules, this.#notify);
    this.#evalSamples = options.evalSamples ? prepareSamples(options.evalSamples, rules).samples : null;
    const microBatches = options.microBatches ?? args.gradientAccumulationSteps * (ranks?.size ?? 1);
    this.plan = planRun(this.#samples.length, { ...args, gradientAccumulationSteps: microBatches });
    checkRanks(this.plan, ranks?.size ?? 1, microBatches, this.#notify);
    const { maxSteps, epochs } = this.plan;
    this.args = { ...args, ...stepsOf(args, maxSteps) };
    checkOptions(options, this.args, this.#evalSamples !== null);
    this.schedule = {
      name: this.args.lrSchedulerType,
      totalSteps: maxSteps,
      warmupSteps: warmupSteps(maxSteps, this.args),
      learningRate: this.args.learningRate,
      parameters: scheduleParameters(this.args.lrSchedulerType, this.args.lrSchedulerKwargs),
    };
    this.#data = {
      seed: this.args.seed,
      dataSeed: this.args.dataSeed ?? this.args.seed,
      samples: this.#samples.length,
      digest: this.#samples.digest,
      batchSize: this.plan.batchSize,
      accumulation: this.plan.accumulation,
    };
    this.state = initialState(maxSteps, epochs);
    this.control = {
      shouldTrainingStop: false,
      shouldEpochStop: false,
      shouldSave: false,
      shouldEvaluate: false,
      shouldLog: false,
    };
    this.#keeper = new CheckpointKeeper({
      ...{ model, limit, notify: this.#notify, files: options.checkpointFiles, packs: (ranks?.rank ?? 0) === 0 },
      store: ranks && options.checkpoints ? sharedStore(options.checkpoints, ranks) : options.checkpoints,
    });
    // The model's own sparsity, unless the caller steers it.
    const sparsity = model.sparsity ?? null;
    this.#denseTokens = options.denseTokens ?? (sparsity ? (...batch) => sparsity.denseTokens(...batch) : undefined);
    const steered = callbacks.some((callback) => callback instanceof SpftCallback);
    this.#callbacks = [
      new DefaultFlowCallback(),
      ...(progress ? [new ProgressCallback(progress)] : []),
      ...(sparsity && !steered ? [new SpftCallback(sparsity)] : []),
      ...callbacks,
    ];
  }

  /**
   * Runs to the end.
   * @param options `resumeFromCheckpoint`: location of a checkpoint, or true for the last complete one; by default as the arguments say.
   * @throws TrainerError; NonFiniteError when the loss is NaN or infinite.
   */
  async train(options: { resumeFromCheckpoint?: string | boolean } = {}): Promise<TrainOutput> {
    assertKnownOptions('Trainer.train', options, { resumeFromCheckpoint: true });
    const { resumeFromCheckpoint = this.#resumeArgument() } = options;
    const { model } = this.#options;
    this.#optimizer = createOptimizer(model.variables, this.args);
    try {
      if (resumeFromCheckpoint) {
        const { maxSteps, epochs } = this.plan;
        const run = { maxSteps, numTrainEpochs: epochs };
        const restored = await this.#keeper.resume(resumeFromCheckpoint, this.#parts(), run);
        if (restored) {
          this.state = restored.state;
          this.#record.restore(restored.unloggedLosses);
        }
      }
      this.#runner = new StepRunner({
        ...{ options: this.#options, args: this.args, samples: this.#samples, optimizer: this.#optimizer },
        ...{ callbacks: this.#callbacks, record: this.#record, notify: this.#notify, context: () => this.#context() },
        ...{ plan: this.plan, dataSeed: this.#data.dataSeed, ranks: this.#ranks },
        denseTokens: this.#denseTokens,
      });
      const started = performance.now();
      await fire(this.#callbacks, 'onTrainBegin', this.#context());
      if (this.args.evalOnStart && this.state.globalStep === 0) await this.evaluate();

      const { stepsPerEpoch, epochs } = this.plan;
      for (let epoch = Math.floor(this.state.globalStep / stepsPerEpoch); epoch < epochs; epoch++) {
        if (this.control.shouldTrainingStop || this.state.globalStep >= this.state.maxSteps) break;
        await this.#epoch(epoch);
      }

      const output = await this.#finish((performance.now() - started) / 1000);
      await fire(this.#callbacks, 'onTrainEnd', this.#context());
      return output;
    } catch (error) {
      this.#options.progress?.stop();
      throw error;
    } finally {
      this.#record.dispose();
      this.#runner?.dispose();
      this.#runner = null;
      this.#optimizer.dispose();
      this.#optimizer = null;
    }
  }

  /** An epoch, from the step at which a resumed run stands. */
  async #epoch(epoch: number): Promise<void> {
    const { stepsPerEpoch, batchesPerEpoch, accumulation } = this.plan;
    this.control.shouldEpochStop = false;
    await fire(this.#callbacks, 'onEpochBegin', this.#context());
    const lengthOf = (sample: number) => this.#samples.sample(sample).inputIds.length;
    const steps = epochSteps(this.plan, this.#data.dataSeed, epoch, this.args.groupByLength ? lengthOf : undefined);
    for (let step = this.state.globalStep - epoch * stepsPerEpoch; step < stepsPerEpoch; step++) {
      const batches = steps[step]!.map((batch) => batch.map((sample) => this.#samples.sample(sample)));
      const epochAfter = epoch + Math.min(batchesPerEpoch, (step + 1) * accumulation) / batchesPerEpoch;
      await this.#step(batches, epochAfter);
      await this.#obey();
      if (this.control.shouldTrainingStop || this.control.shouldEpochStop) break;
    }
    await fire(this.#callbacks, 'onEpochEnd', this.#context());
    await this.#obey();
  }

  /** One optimizer step: forward and backward of every micro-batch, clipping, update. */
  async #step(batches: readonly (readonly PreparedSample[])[], epochAfter: number): Promise<void> {
    const { checkEveryStep = readsAreFree() } = this.#options;
    const { args, state, control } = this;
    control.shouldSave = control.shouldEvaluate = control.shouldLog = false;
    await fire(this.#callbacks, 'onStepBegin', this.#context());

    this.clock.start();
    const step = state.globalStep;
    const learningRate = args.learningRate * learningRateFactor(this.schedule, step);
    const tokens = await this.#runner!.run(batches, { step, learningRate, lastCheckpoint: this.#keeper.last });
    if (tokens === null) {
      // A long step is not waited for: nothing is updated yet, so the run goes on from the step before it.
      this.#record.drop(step + 1);
      this.clock.giveUpStep();
      this.#stopWithCheckpoint();
      return;
    }
    this.clock.endStep(tokens);
    if (checkEveryStep) {
      this.clock.synced();
      this.#record.close();
    }

    await fire(this.#callbacks, 'onOptimizerStep', this.#context());
    state.globalStep++;
    state.epoch = epochAfter;
    state.numInputTokensSeen += tokens;
    this.#learningRate = learningRate;
    await fire(this.#callbacks, 'onStepEnd', { ...this.#context(), tokens, loss: this.#record.lastLoss, learningRate });
    if (await this.#stop.agreed()) this.#stopWithCheckpoint();
  }

  #stopWithCheckpoint(): void {
    this.#interrupted = true;
    this.control.shouldTrainingStop = true;
    this.control.shouldSave = this.#keeper.saves;
  }

  #interrupted = false;

  /** Rate of the last step, for its log line. */
  #learningRate = 0;

  /** Logs, evaluates and saves as the callbacks have asked. */
  async #obey(): Promise<void> {
    const { control } = this;
    if (control.shouldLog) await this.#log();
    if (control.shouldEvaluate) await this.evaluate();
    if (control.shouldSave && this.#keeper.saves) await this.#save();
    control.shouldLog = control.shouldEvaluate = control.shouldSave = false;
  }

  async #log(): Promise<void> {
    await this.#read();
    const losses = this.#record.take();
    if (losses.length === 0) return;
    const sum = total(losses, (loss) => loss);
    this.state.totalLoss += sum;
    const speed = this.clock.window(this.#loggedSteps);
    this.#loggedSteps = this.clock.seconds.length;
    await this.#addLogEntry({
      loss: sum / losses.length,
      ...(this.#record.gradientNorm === null ? {} : { grad_norm: this.#record.gradientNorm }),
      learning_rate: this.#learningRate,
      ...(speed ? { seconds_per_step: speed.secondsPerStep, tokens_per_second: speed.tokensPerSecond } : {}),
    });
  }

  /** Waits for the backend and checks all losses so far. */
  async #read(): Promise<void> {
    this.clock.start();
    await this.#record.read(this.#keeper.last);
    this.clock.pause();
    this.clock.synced();
    this.#record.close();
  }

  async #addLogEntry(values: Readonly<Record<string, number>>): Promise<void> {
    const logs: LogEntry = { ...values, epoch: this.state.epoch, step: this.state.globalStep };
    this.state.logHistory.push(logs);
    await fire(this.#callbacks, 'onLog', { ...this.#context(), logs });
  }

  /**
   * Evaluates now: loss on the held-out samples, and the evaluator's metrics.
   * @throws TrainerError when `metric_for_best_model` is not among them.
   */
  async evaluate(): Promise<LogEntry> {
    const { model, evaluator } = this.#options;
    await this.#read();
    const metrics: Record<string, number> = {};
    if (this.#evalSamples) {
      Object.assign(
        metrics,
        await evaluateLoss(
          model,
          this.#evalSamples,
          this.args.perDeviceEvalBatchSize,
          this.#ranks,
          this.#options.shards,
        ),
      );
      this.#requireFinite('eval_loss', metrics.eval_loss!);
    }
    for (const [name, value] of Object.entries((await evaluator?.(this.#context())) ?? {})) {
      const full = name.startsWith('eval_') ? name : `eval_${name}`;
      if (Number.isFinite(value)) metrics[full] = value;
      else this.#notify(`${full} is ${value} after step ${this.state.globalStep}, and is left out`);
    }
    // Times differ between ranks; what is best must not.
    const same = this.#ranks ? await broadcastJson(this.#ranks, () => metrics) : metrics;
    await this.#addLogEntry(same);
    await fire(this.#callbacks, 'onEvaluate', { ...this.#context(), metrics: same });
    this.#noteBest(same);
    return same;
  }

  #noteBest(metrics: LogEntry): void {
    const { state, args } = this;
    const best = betterMetric(metrics, state.bestMetric, args);
    if (best === null) return;
    state.bestMetric = best;
    state.bestGlobalStep = state.globalStep;
    // What is to be loaded at the end must exist, whether or not a checkpoint is due.
    if (args.loadBestModelAtEnd) this.control.shouldSave = true;
  }

  async #save(): Promise<void> {
    await this.#read();
    const location = await this.#keeper.save(this.#parts(), this.state, this.#record.losses);
    await fire(this.#callbacks, 'onSave', { ...this.#context(), location });
  }

  /** The best model, if asked for, and the summary. */
  async #finish(seconds: number): Promise<TrainOutput> {
    const { model } = this.#options;
    await this.#read();
    const { state } = this;
    // What the last update made of a gradient shows in no loss.
    await requireFiniteVariables(model.variables, { step: state.globalStep, lastCheckpoint: this.#keeper.last });
    const trainLoss = (state.totalLoss + total(this.#record.losses, (loss) => loss)) / Math.max(1, state.globalStep);
    if (this.args.loadBestModelAtEnd && state.bestModelCheckpoint && state.bestGlobalStep !== state.globalStep) {
      await this.#keeper.loadVariables(state.bestModelCheckpoint);
    }
    const speed = this.clock.summary();
    await this.#addLogEntry({
      train_runtime: seconds,
      train_loss: trainLoss,
      train_steps_per_second: this.clock.seconds.length / seconds,
      ...(speed.tokensPerSecond === null ? {} : { train_tokens_per_second: speed.tokensPerSecond }),
      ...(speed.secondsPerStep === null ? {} : { train_seconds_per_step: speed.secondsPerStep }),
    });
    const interrupted = this.#interrupted && state.globalStep < state.maxSteps;
    return { globalStep: state.globalStep, interrupted, trainLoss, state, speed, stepSeconds: this.clock.seconds };
  }

  #context(): TrainerContext {
    const { args, state, control } = this;
    return { args, state, control, model: this.#options.model, notify: this.#notify };
  }

  #parts(): KeptParts {
    return { optimizer: this.#optimizer!, schedule: this.schedule, args: this.args, data: this.#data };
  }

  #requireFinite(what: string, value: number): void {
    const { globalStep: step } = this.state;
    if (!Number.isFinite(value))
      throw new NonFiniteError({ what, value, step, samples: [], lastCheckpoint: this.#keeper.last });
  }

  #resumeArgument(): string | boolean {
    const { resumeFromCheckpoint } = this.args;
    return resumeFromCheckpoint === 'true' ? true : (resumeFromCheckpoint ?? false);
  }
}

function total<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}
