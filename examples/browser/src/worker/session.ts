/**
 * @file What the worker holds between requests: one model at a time, what the last run put on it, and the run that goes on. Requests that need the model wait
 * for each other; while a run goes on, questions are answered between two of its steps.
 */
import { adapterArchive } from '../engine/adapter-files.js';
import { askBoth } from '../engine/chat.js';
import { PageError } from '../engine/errors.js';
import { requireMemory } from '../engine/memory.js';
import { recordsOf, samplesOf, train } from '../engine/training-run.js';
import { prepare, type Tuned } from '../engine/tuned-model.js';
import type { Hello, Requests, RunData, RunEnd, RunSettings, WorkerEvent } from '../protocol.js';
import { makeFolder, namesIn, removeIfThere, storageMissing } from '../storage/opfs.js';
import { forgetRun, keepRun, savedCheckpoints, savedRun } from '../storage/saved-run.js';
import { backendOptions, limitsOfBackend, useBackend } from './backends.js';
import { capabilities } from './capabilities.js';
import { adapterGguf, mergedGguf } from './export-gguf.js';
import { holdRun } from './hold-run.js';
import { type Check, findModel, type LoadedModel, loadFound } from './load-model.js';

type Tell = (event: WorkerEvent) => void;
type Ask<Name extends keyof Requests> = Requests[Name]['ask'];
type Give<Name extends keyof Requests> = Promise<Requests[Name]['give']>;

interface Running {
  readonly abort: AbortController;
  /** Done at the end of the step. */
  readonly waiting: (() => Promise<void>)[];
}

export class Session {
  #deviceMemory: number | null = null;
  #loaded: LoadedModel | null = null;
  #tuned: Tuned | null = null;
  #running: Running | null = null;
  /** The last request that needs the model. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly tell: Tell) {}

  async hello({ deviceMemory }: Ask<'hello'>): Give<'hello'> {
    this.#deviceMemory = deviceMemory;
    const hello: Hello = {
      capabilities: await capabilities(),
      backends: await backendOptions(),
      saved: await savedRun(),
    };
    return hello;
  }

  async start({ settings, data, file }: Ask<'start'>): Give<'start'> {
    return this.#run(settings, data, file, false);
  }

  async resume(_: Ask<'resume'>): Give<'resume'> {
    const saved = await savedRun();
    if (!saved) throw new PageError('There is no run to go on with; start one.');
    return this.#run(saved.settings, saved.data, null, true);
  }

  async pause(_: Ask<'pause'>): Give<'pause'> {
    this.#running?.abort.abort();
    return null;
  }

  async forget({ models }: Ask<'forget'>): Give<'forget'> {
    if (this.#running) throw new PageError('A run goes on; pause it first.');
    if (storageMissing()) return null;
    await forgetRun();
    if (models) {
      const root = await makeFolder();
      for (const name of await namesIn(root)) await removeIfThere(root, name);
    }
    return null;
  }

  async chat({ text, maxNewTokens }: Ask<'chat'>): Give<'chat'> {
    const ask = async () => {
      const { model, tokenizer } = this.#requireModel();
      return askBoth(model, this.#tuned?.peft ?? null, tokenizer, text, maxNewTokens, (side, answer) =>
        this.tell({ event: 'token', side, text: answer }),
      );
    };
    return this.#betweenSteps(ask);
  }

  async adapter(_: Ask<'adapter'>): Give<'adapter'> {
    return this.#betweenSteps(async () => {
      const { name } = this.#requireModel();
      const bytes = await adapterArchive(this.#requireTuned().peft, name);
      return { file: new Blob([bytes], { type: 'application/zip' }), name: `${name.replaceAll('/', '-')}-adapter.zip` };
    });
  }

  async gguf({ what, type }: Ask<'gguf'>): Give<'gguf'> {
    return this.#betweenSteps(async () => {
      const loaded = this.#requireModel();
      const { peft } = this.#requireTuned();
      if (what === 'adapter') return adapterGguf(loaded, peft);
      const { notices, ...given } = await mergedGguf(loaded, peft, type, (fraction) =>
        this.tell({ event: 'status', text: 'Writing the GGUF file', fraction }),
      );
      for (const text of notices) this.tell({ event: 'notice', text });
      return given;
    });
  }

  #requireModel(): LoadedModel {
    if (!this.#loaded) throw new PageError('No model is loaded yet; start or resume a run first.');
    return this.#loaded;
  }

  #requireTuned(): Tuned {
    if (!this.#tuned) throw new PageError('Nothing has been trained yet; start or resume a run first.');
    return this.#tuned;
  }

  /** Work that needs the model: at once where nothing else goes on, else after the step or the request that does. */
  #betweenSteps<T>(work: () => Promise<T>): Promise<T> {
    const running = this.#running;
    if (!running) return this.#alone(work);
    return new Promise((resolve, reject) => {
      running.waiting.push(() => work().then(resolve, reject));
    });
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  async #run(settings: RunSettings, data: RunData, file: File | null, resume: boolean): Promise<RunEnd> {
    if (this.#running) throw new PageError('A run goes on already; pause it first.');
    const running: Running = { abort: new AbortController(), waiting: [] };
    this.#running = running;
    const finish = () => {
      this.#running = null;
      for (const work of running.waiting.splice(0)) void this.#alone(work);
    };
    return this.#alone(() => holdRun(() => this.#trained(settings, data, file, resume, running))).finally(finish);
  }

  async #trained(
    settings: RunSettings,
    data: RunData,
    file: File | null,
    resume: boolean,
    running: Running,
  ): Promise<RunEnd> {
    const { tell } = this;
    const notice = (text: string) => tell({ event: 'notice', text });
    // What is wrong with the data shows before anything is loaded or replaced.
    const records = recordsOf(data, notice);
    const { model, tokenizer } = await this.#load(settings, file);
    const samples = samplesOf(records, tokenizer, settings, notice);
    // On the same model the adapters of a run that was paused get the checkpoint's values anyway.
    this.#tuned?.dispose();
    this.#tuned = null;
    const status = (text: string, fraction: number | null) => tell({ event: 'status', text, fraction });
    status('Choosing what predicts channels', null);
    this.#tuned = await prepare(model, settings, (fraction) => status('Decomposing weights for predictors', fraction));
    const checkpoints = resume ? await savedCheckpoints() : await keepRun(settings, data);
    const { status: end, step } = await train({
      ...{ tuned: this.#tuned, samples, settings, checkpoints, resume, signal: running.abort.signal },
      onBegin: (history, at) => tell({ event: 'run', settings, history, step: at }),
      onStep: (entry) => tell({ event: 'step', entry }),
      onMap: (map) => tell({ event: 'map', map }),
      onSaved: (at) => tell({ event: 'saved', step: at }),
      onNotice: notice,
      between: async () => {
        // Messages of the page come in here.
        await new Promise((resolve) => setTimeout(resolve));
        for (const work of running.waiting.splice(0)) await work();
      },
    });
    return { status: end, step, ...this.#tuned.peft.parameterCount() };
  }

  /** The model of the settings, unless it is there already. A GGUF file that is given is always loaded. */
  async #load(settings: RunSettings, file: File | null): Promise<LoadedModel> {
    const status = (text: string, fraction: number | null) => this.tell({ event: 'status', text, fraction });
    const notice = await useBackend(settings.backend);
    if (notice) this.tell({ event: 'notice', text: notice });
    const there = this.#loaded;
    const isSame =
      there?.backend === settings.backend && JSON.stringify(there.choice) === JSON.stringify(settings.model);
    const check: Check = (weights, config) =>
      void requireMemory(weights, config, settings, limitsOfBackend(), this.#deviceMemory);
    if (there && isSame && file === null) {
      check(there.weights, there.model.config);
      return there;
    }
    const found = await findModel(settings.model, file, check, status);
    this.#tuned?.dispose();
    this.#tuned = null;
    this.#loaded?.model.dispose();
    this.#loaded = null;
    for (const notice of found.opened.notices) this.tell({ event: 'notice', text: notice });
    this.#loaded = await loadFound(found, settings.backend, status);
    return this.#loaded;
  }
}
