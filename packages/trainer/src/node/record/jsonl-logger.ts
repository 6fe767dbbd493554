/**
 * @file The log as JSON lines, one object a line, appended as it happens: readable while the run runs, and by any tool.
 */
import { appendFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeDirectory } from '@spft/safetensors/node';
import type { TrainerCallback, TrainerContext } from '../../loop/callbacks.js';
import type { LogEntry } from '../../loop/state.js';
import { endLastLine } from './end-last-line.js';

export class JsonlLogger implements TrainerCallback {
  readonly #path: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  /** @param fields that every line gets, e.g. the method's name. */
  constructor(path: string, fields: Readonly<Record<string, unknown>> = {}) {
    this.#path = path;
    this.#fields = fields;
  }

  async onTrainBegin({ args, state }: TrainerContext): Promise<void> {
    await makeDirectory(dirname(this.#path));
    await endLastLine(this.#path);
    await this.#append({ event: 'begin', step: state.globalStep, max_steps: state.maxSteps, args });
  }

  async onLog({ logs }: TrainerContext & { readonly logs: LogEntry }): Promise<void> {
    await this.#append({ event: 'log', ...logs });
  }

  async onSave({ state, location }: TrainerContext & { readonly location: string }): Promise<void> {
    await this.#append({ event: 'save', step: state.globalStep, location });
  }

  async onTrainEnd({ state }: TrainerContext): Promise<void> {
    await this.#append({ event: 'end', step: state.globalStep });
  }

  async #append(entry: Readonly<Record<string, unknown>>): Promise<void> {
    const line = JSON.stringify({ time: new Date().toISOString(), ...this.#fields, ...entry });
    await appendFile(this.#path, `${line}\n`);
  }
}
