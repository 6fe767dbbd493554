/**
 * @file What a step, and one decoder layer of it, takes on the active backend: forward and backward as a run has them, with the estimator's choice, gathers
 * and dense rows. Recorded where the backend records steps, as the run's are.
 *
 * All that is compared takes turns within one run, in an order that turns round each time, and medians are told: what else a machine does meets all alike.
 * The optimizer's update is left out. It is the same in dense and sparse steps, and small beside them.
 */
import type { SparsityPlan, SpftModel } from '@spft/estimator';
import type { PreparedBatch, RunnableLayers, TrainableModel } from '@spft/models';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { createStepRecorder, type StepInputs, type StepRecorder } from '@spft/sparse-ops';
import { gradientsOnOwnTape } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { CollatedBatch } from '../batch/collate.js';
import { batchInputs, batchOfInputs } from '../batch/padded-batch.js';
import { sizeOf } from '../batch/step-shapes.js';
import { gradientsOf } from '../loop/gradients.js';
import { nextTurn } from '../loop/next-turn.js';
import { median } from '../loop/step-clock.js';

/** As a plan has them. */
export type LayerSparsities = ReadonlyMap<number, { readonly mlp: number; readonly selfAttn: number }>;

/** Something whose time is wanted. */
export interface TimedWork {
  /** A decoder layer by its number, or the whole step. */
  readonly part: number | 'step';
  readonly batch: CollatedBatch;
  /** Empty where it is dense. */
  readonly layers: LayerSparsities;
  /** What replaces dropped MLP channels there; by default nothing does. */
  readonly compensation?: SparsityPlan['compensation'];
}

/** Who tells times: `StepTimer`, or a test. */
export interface Stopwatch {
  /** @returns seconds of each, in order. */
  seconds(works: readonly TimedWork[], onRound?: (done: number) => void): Promise<number[]>;
}

export interface StepTimerOptions {
  readonly gradientCheckpointing?: boolean;
  /** Seconds after which no round begins any more; at least three are done. Default 5. */
  readonly seconds?: number;
  /** Seconds of a clock. */
  readonly now?: () => number;
}

const ROUNDS = { least: 3, most: 9 };
/** A shorter work is done several times in a row, so that waiting for the device weighs little. */
const LEAST_SECONDS = 0.02;
const MOST_TIMES = 64;
/** Compiles kernels, measures products, records: a recorder runs a function on the host twice before it repeats it. */
const WARMUP = 3;

export class StepTimer implements Stopwatch {
  readonly #now: () => number;

  /** @param spft its plan is left as it was. @param layers of the same model. */
  constructor(
    readonly spft: SpftModel<TrainableModel>,
    readonly layers: RunnableLayers,
    readonly options: StepTimerOptions = {},
  ) {
    assertKnownOptions('StepTimer', options, { gradientCheckpointing: true, seconds: true, now: true });
    this.#now = options.now ?? (() => performance.now() / 1000);
  }

  async seconds(works: readonly TimedWork[], onRound?: (done: number) => void): Promise<number[]> {
    const { spft } = this;
    const recorder = createStepRecorder({ graphs: works.length });
    const prepared: Runnable[] = [];
    try {
      for (const [n, work] of works.entries()) prepared.push(this.#prepare(work, `${n}`, recorder));
      const times: number[] = [];
      for (const one of prepared) times.push(await this.#timesInARow(one));
      const taken = prepared.map(() => [] as number[]);
      const begin = this.#now();
      for (let round = 0; round < ROUNDS.most; round++) {
        if (round >= ROUNDS.least && this.#now() - begin > (this.options.seconds ?? 5)) break;
        onRound?.(round / ROUNDS.most);
        const order = [...prepared.keys()];
        for (const n of round % 2 === 0 ? order : order.reverse()) {
          taken[n]!.push(await this.#time(prepared[n]!, times[n]!));
          await nextTurn();
        }
      }
      return taken.map((seconds) => median(seconds)!);
    } finally {
      for (const one of prepared) one.dispose();
      recorder?.dispose();
      spft.host.setSparsity(spft.plan);
    }
  }

  /** How often a work is done for one time of it, after it was done for the first times. */
  async #timesInARow(work: Runnable): Promise<number> {
    let taken = 0;
    for (let n = 0; n < WARMUP; n++) {
      taken = await this.#time(work, 1);
      await nextTurn();
      // What computes at once has nothing to record, and one time was enough to compile.
      if (!work.isRecorded && n > 0) break;
    }
    return Math.max(1, Math.min(MOST_TIMES, Math.ceil(LEAST_SECONDS / Math.max(taken, 1e-6))));
  }

  async #time(work: Runnable, times: number): Promise<number> {
    work.attach();
    const begin = this.#now();
    let last: tf.Tensor | null = null;
    for (let n = 0; n < times; n++) {
      last?.dispose();
      last = work.run();
    }
    // One number of the last gradient: what was launched before it has then been done.
    await last!.data();
    last!.dispose();
    return (this.#now() - begin) / times;
  }

  #prepare({ part, batch, layers, compensation }: TimedWork, key: string, recorder: StepRecorder | null): Runnable {
    const { spft, options } = this;
    const { recordable } = this.layers;
    const attach = () =>
      spft.host.setSparsity({
        ...{ ...spft.plan, enabled: layers.size > 0, listener: null, layers: new Map(layers) },
        ...(compensation && { compensation }),
      });
    attach();
    const prepared: PreparedBatch = { layout: batch.layout, rows: recordable.rows(batch) };
    const records = recorder !== null && recordable.key(false) !== null;
    const variables = [...spft.variables.values()];
    // What comes into a layer is a tensor, so that its gradient is taken too, as in a layer with adapters below it.
    const x = part === 'step' ? null : tf.keep(this.layers.embed(prepared.rows.ids));
    const { gradientCheckpointing = false } = options;
    const work = (batch: PreparedBatch, normalizer: tf.Scalar, maskSeeds: Int32Array) => {
      const call = { training: true, seed: 0, gradientCheckpointing, maskSeeds };
      if (x === null) {
        const result = gradientsOf(() => recordable.loss(batch, { ...call, normalizer }), variables);
        return [result.gradients.at(-1) ?? result.loss];
      }
      const layer = () => this.layers.layerOutput(part as number, x, batch, call);
      const [dx] = gradientsOnOwnTape(layer, [x, ...variables], x);
      return [dx!];
    };
    const size = sizeOf(prepared.layout, prepared.rows);
    const inputs: StepInputs = {
      ...batchInputs(prepared, 0),
      maskSeeds: recordable.maskSeeds(0),
      normalizer: Float32Array.of(batch.labelCount),
    };
    const whole = (inputs: StepInputs): tf.Tensor[] => [
      tf.tidy(() => {
        const normalizer = tf.reshape(tf.tensor1d(inputs.normalizer as Float32Array), []) as tf.Scalar;
        const taken = records ? batchOfInputs(inputs, 0, size) : prepared;
        const [gradient] = work(taken, normalizer, inputs.maskSeeds as Int32Array);
        return tf.slice(tf.reshape(gradient!, [-1]), 0, 1);
      }),
    ];
    return {
      attach,
      isRecorded: records,
      run: () => (records ? recorder.run(key, inputs, whole) : whole(inputs))[0]!,
      dispose: () => void x?.dispose(),
    };
  }
}

/** A work that is ready. */
interface Runnable {
  readonly isRecorded: boolean;
  /** Makes the model as sparse as the work is. */
  attach(): void;
  /** Forward and backward; a number of a gradient, owned by the caller. */
  run(): tf.Tensor;
  dispose(): void;
}
