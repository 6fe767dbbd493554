/**
 * @file The log as JSON lines, one object a line, appended as it happens: readable while the run runs, and by any tool.
 */
import { appendFile, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeDirectory } from '@spft/safetensors/node';
import type { TrainerCallback, TrainerContext } from '../../loop/callbacks.js';
import type { LogEntry } from '../../loop/state.js';

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

/** What a killed run has left of its last line goes, so that it does not swallow the next one; a whole line without its end gets one. */
async function endLastLine(path: string): Promise<void> {
  const file = await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (file === null) return;
  try {
    const { size } = await file.stat();
    const last = Buffer.alloc(1);
    if (size > 0) await file.read(last, 0, 1, size - 1);
    if (size === 0 || last[0] === LINE_FEED) return;
    const bytes = await file.readFile();
    const start = bytes.lastIndexOf(LINE_FEED) + 1;
    if (isJson(bytes.toString('utf8', start))) await file.write('\n', size);
    else await file.truncate(start);
  } finally {
    await file.close();
  }
}

const LINE_FEED = 10;

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
