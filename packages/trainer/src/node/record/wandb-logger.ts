/**
 * @file Weights & Biases, by its own `@wandb/sdk` where the user has installed it. Without a key (or with `WANDB_MODE=offline`) nothing is
 * sent: the SDK's own offline mode keeps nothing, so the run is kept as JSON lines.
 *
 * What SDK 0.5.1 does that is not wanted is kept from it: of a refused key it writes a page to the console, so the key is tried first; an error while a run
 * is made it throws where nobody can catch it; at Ctrl-C it ends the process, before the checkpoint; and of more rows than steps it sends some only, so all
 * values of a step are one row.
 */
import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
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
  /** What tries the key. */
  readonly fetch?: typeof fetch;
}

const OPTIONS: OptionNames<WandbOptions> = {
  ...{ name: true, config: true, directory: true, project: true },
  ...{ env: true, load: true, fetch: true },
};

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
  /** The row that is being filled. */
  #row: { readonly step: number; readonly values: Record<string, unknown> } | null = null;

  constructor(options: WandbOptions) {
    assertKnownOptions('WandbLogger', options, OPTIONS);
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
    const key = env.WANDB_API_KEY ?? '';
    if (key === '') {
      throw new TrainerError(
        'options',
        `WANDB_MODE is ${mode}, and there is no WANDB_API_KEY; set it, or leave WANDB_MODE out to keep the run here`,
      );
    }
    const sdk = await this.#sdk();
    const baseUrl = (env.WANDB_BASE_URL || 'https://api.wandb.ai').replace(/\/+$/, '');
    try {
      await tryKey(baseUrl, key, this.#options.fetch ?? fetch);
      this.#run = await withoutItsHandlers(() =>
        sdk.init({
          ...{ project, name, config },
          ...(env.WANDB_ENTITY ? { entity: env.WANDB_ENTITY } : {}),
          settings: { apiKey: key, baseUrl, silent: true },
        }),
      );
    } catch (cause) {
      throw new TrainerError(
        'options',
        `wandb refuses the run (${reasonOf(cause).replaceAll(key, '…')}); check WANDB_API_KEY, WANDB_ENTITY and WANDB_BASE_URL, or set WANDB_MODE=offline, or leave wandb out of report_to`,
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
    if (this.#run) {
      if (this.#row && this.#row.step !== step) this.#send();
      this.#row = { step, values: { ...this.#row?.values, ...values } };
    }
    if (this.#file !== null) await appendFile(this.#file, `${JSON.stringify({ _step: step, ...values })}\n`);
  }

  /** What is left is sent; a failure then is said and does not undo the training. */
  async onTrainEnd({ notify }: Pick<TrainerContext, 'notify'>): Promise<void> {
    this.#send();
    const run = this.#run;
    this.#run = null;
    await run
      ?.finish()
      .catch((error: unknown) => notify(`wandb: the end of the run was not sent (${reasonOf(error)})`));
  }

  #send(): void {
    if (this.#row) this.#run?.log(this.#row.values, this.#row.step);
    this.#row = null;
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

/** Milliseconds that a server has to say whether it knows the key. */
const PATIENCE = 15_000;

/** @throws Error saying that the key is refused, or that the server cannot be reached. */
async function tryKey(baseUrl: string, key: string, ask: typeof fetch): Promise<void> {
  const response = await ask(`${baseUrl}/graphql`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Authorization: `Basic ${Buffer.from(`api:${key}`).toString('base64')}`,
    },
    body: JSON.stringify({ query: 'query Viewer { viewer { id entity } }' }),
    signal: AbortSignal.timeout(PATIENCE),
  }).catch((error: Error) => {
    const { code } = (error.cause ?? {}) as { code?: string };
    throw new Error(`${baseUrl} cannot be reached: ${code ?? error.message}`);
  });
  if (response.status === 401 || response.status === 403)
    throw new Error(`the key is refused, HTTP ${response.status}`);
  if (!response.ok) throw new Error(`${baseUrl} answers HTTP ${response.status}`);
  const answer = (await response.json().catch(() => ({}))) as { data?: { viewer?: { entity?: string } | null } };
  if (!answer.data?.viewer) throw new Error('the key is refused: it belongs to no user');
}

/** The SDK's handlers of signals are taken away again, and what it throws while it makes a run comes here. */
async function withoutItsHandlers<T>(make: () => Promise<T>): Promise<T> {
  const signals = ['SIGINT', 'SIGTERM'] as const;
  const before = signals.map((signal) => process.listeners(signal));
  let fail: (error: Error) => void = () => undefined;
  const thrown = new Promise<never>((_, reject) => {
    fail = reject;
  });
  process.on('uncaughtException', fail);
  try {
    return await Promise.race([make(), thrown]);
  } finally {
    process.off('uncaughtException', fail);
    signals.forEach((signal, n) => {
      for (const listener of process.listeners(signal))
        if (!before[n]!.includes(listener)) process.off(signal, listener);
    });
  }
}

/** Short. */
function reasonOf(error: unknown): string {
  const { response, message } = error as { response?: { errors?: { message?: string }[] }; message?: string };
  return (response?.errors?.[0]?.message ?? message ?? String(error)).split('\n')[0]!.slice(0, 200);
}
