/**
 * @file Weights & Biases, by its own `@wandb/sdk` where the user has installed it. Without a key (or with `WANDB_MODE=offline`) nothing is
 * sent: the SDK has no offline mode of its own, so the run is kept as JSON lines.
 */
import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TrainerError } from '../../errors.js';
import type { TrainerCallback, TrainerContext } from '../../loop/callbacks.js';
import type { LogEntry } from '../../loop/state.js';
import { metricNames } from '../../record/metric-names.js';
import type { MetricSink } from '../../record/module-statistics.js';
import { endLastLine } from './end-last-line.js';

export interface WandbOptions {
  /** Name of the run. */
  readonly name: string;
  /** Every setting of the run. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Where a run that is not sent is kept. */
  readonly directory: string;
  /** Default `WANDB_PROJECT`, else `spft`, as in the original. */
  readonly project?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The SDK; by default `@wandb/sdk` as it is installed. */
  readonly load?: () => Promise<unknown>;
}

/** What is used of the SDK. */
interface WandbRun {
  log(values: Readonly<Record<string, unknown>>, step?: number): void;
  finish(code?: number): Promise<void>;
  url?(): string;
}
interface WandbSdk {
  init(options: Readonly<Record<string, unknown>>): Promise<WandbRun>;
}

export class WandbLogger implements TrainerCallback, MetricSink {
  readonly #options: WandbOptions;
  #run: WandbRun | null = null;
  #file: string | null = null;

  constructor(options: WandbOptions) {
    this.#options = options;
  }

  /** @throws TrainerError when the SDK is missing, or the key is refused: before the first step. */
  async onTrainBegin({ notify }: Pick<TrainerContext, 'notify'>): Promise<void> {
    const { name, config, directory, env = process.env } = this.#options;
    const project = this.#options.project ?? (env.WANDB_PROJECT || 'spft');
    const mode = env.WANDB_MODE ?? (env.WANDB_API_KEY ? 'online' : 'offline');
    if (mode === 'disabled') return;
    if (mode !== 'online') {
      await mkdir(directory, { recursive: true });
      this.#file = join(directory, 'offline-run.jsonl');
      // Of a run that goes on, what is there stays.
      await endLastLine(this.#file);
      await appendFile(this.#file, `${JSON.stringify({ project, name, config })}\n`);
      notify(
        `wandb: ${env.WANDB_API_KEY ? 'WANDB_MODE is offline' : 'there is no WANDB_API_KEY'}, so nothing is sent; the run is kept in ${this.#file}`,
      );
      return;
    }
    const sdk = await this.#sdk();
    try {
      this.#run = await sdk.init({
        ...{ project, name, config },
        ...(env.WANDB_ENTITY ? { entity: env.WANDB_ENTITY } : {}),
        settings: { apiKey: env.WANDB_API_KEY, baseUrl: env.WANDB_BASE_URL || 'https://api.wandb.ai', silent: true },
      });
    } catch (cause) {
      throw new TrainerError(
        'options',
        `wandb refuses the run (${reasonOf(cause)}); check WANDB_API_KEY and WANDB_ENTITY, or set WANDB_MODE=offline, or leave wandb out of report_to`,
        { cause },
      );
    }
    const url = this.#run.url?.();
    if (url) notify(`wandb: ${url}`);
  }

  async onLog({ logs }: TrainerContext & { readonly logs: LogEntry }): Promise<void> {
    await this.values(logs.step ?? 0, { ...metricNames(logs), 'train/global_step': logs.step ?? 0 });
  }

  async values(step: number, values: Readonly<Record<string, number>>): Promise<void> {
    this.#run?.log(values, step);
    if (this.#file !== null) await appendFile(this.#file, `${JSON.stringify({ _step: step, ...values })}\n`);
  }

  /** What is left is sent; a failure then is said and does not undo the training. */
  async onTrainEnd({ notify }: Pick<TrainerContext, 'notify'>): Promise<void> {
    const run = this.#run;
    this.#run = null;
    await run
      ?.finish()
      .catch((error: unknown) => notify(`wandb: the end of the run was not sent (${reasonOf(error)})`));
  }

  async #sdk(): Promise<WandbSdk> {
    const { load = () => import(PACKAGE) } = this.#options;
    try {
      const found = (await load()) as { default?: WandbSdk } & WandbSdk;
      return found.default ?? found;
    } catch (cause) {
      throw new TrainerError(
        'options',
        `report_to wandb needs the package ${PACKAGE}, which is not installed; run npm install ${PACKAGE}, or leave wandb out of report_to`,
        { cause },
      );
    }
  }
}

/** Of the SDK's makers; the package named `wandb` is something else. A variable, as it is optional: nothing resolves it at build time. */
const PACKAGE: string = '@wandb/sdk';

/** Short, and without the key that a request may repeat. */
function reasonOf(error: unknown): string {
  const { response, message } = error as { response?: { errors?: { message?: string }[] }; message?: string };
  return (response?.errors?.[0]?.message ?? message ?? String(error)).split('\n')[0]!.slice(0, 200);
}
