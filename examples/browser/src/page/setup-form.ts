/** @file The form: what the visitor has chosen, as a run's settings and data. */
import type { BackendOption, Method, ModelChoice, RunData, RunSettings } from '../protocol.js';
import { element, text } from './dom.js';

const number = (id: string) => element(id, HTMLInputElement).valueAsNumber;

/** Largest text that is shown for editing; a larger one is kept beside the box. */
const SHOWN = 2 ** 21;

export class SetupForm {
  /** What was dropped and is too long for the box. */
  #large: RunData | null = null;
  #name = 'pasted.jsonl';
  readonly #onError: (error: Error) => void;

  constructor(onError: (error: Error) => void) {
    this.#onError = onError;
    const drop = element('drop', HTMLElement);
    const model = element('model', HTMLSelectElement);
    model.addEventListener('change', () => this.#showChoice());
    this.#showChoice();
    const data = element('data', HTMLTextAreaElement);
    data.addEventListener('input', () => {
      this.#large = null;
      this.#name = 'pasted.jsonl';
      this.#count();
    });
    element('data-file', HTMLInputElement).addEventListener('change', (event) => {
      const [file] = (event.target as HTMLInputElement).files ?? [];
      if (file) void this.take(file);
    });
    element('sample-button', HTMLButtonElement).addEventListener('click', () => void this.sample());
    for (const kind of ['dragenter', 'dragover'] as const) {
      addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.add('over');
      });
    }
    for (const kind of ['dragleave', 'drop'] as const) addEventListener(kind, () => drop.classList.remove('over'));
    addEventListener('drop', (event) => {
      event.preventDefault();
      const [file] = event.dataTransfer?.files ?? [];
      if (file) void this.take(file);
    });
  }

  showBackends(options: readonly BackendOption[]): void {
    const select = element('backend', HTMLSelectElement);
    select.replaceChildren(
      ...options.map(({ name, title, missing }) => {
        const option = new Option(missing === null ? title : `${title}: ${missing}`, name);
        option.disabled = missing !== null;
        return option;
      }),
    );
    select.value = options.find(({ missing }) => missing === null)?.name ?? '';
  }

  /** A file that was chosen or dropped: a model by its ending, else data. */
  async take(file: File): Promise<void> {
    if (/\.gguf$/i.test(file.name)) {
      const transfer = new DataTransfer();
      transfer.items.add(file);
      element('gguf-file', HTMLInputElement).files = transfer.files;
      element('model', HTMLSelectElement).value = 'gguf';
      this.#showChoice();
      return;
    }
    try {
      await this.#takeData(file);
    } catch (error) {
      this.#onError(error as Error);
    }
  }

  async sample(): Promise<void> {
    try {
      const response = await fetch('data/train.json');
      if (!response.ok) throw new Error(`The sample cannot be loaded: the server answers ${response.status}.`);
      this.#show({ name: 'train.json', text: await response.text() });
    } catch (error) {
      this.#onError(error as Error);
    }
  }

  /** @throws Error when a field is missing. */
  read(): { settings: RunSettings; data: RunData; file: File | null } {
    const box = element('data', HTMLTextAreaElement).value;
    const data = this.#large ?? { name: this.#name, text: box };
    if (data.text.trim() === '') {
      throw new Error('There are no examples to learn from: paste some, drop a file, or use the sample.');
    }
    const { model, file } = this.#model();
    const method = document.querySelector<HTMLInputElement>('input[name="method"]:checked')!.value as Method;
    const settings: RunSettings = {
      ...{ model, method, backend: element('backend', HTMLSelectElement).value },
      ...{ steps: number('steps'), batchSize: number('batch'), learningRate: number('rate'), rank: number('rank') },
      ...{ maxLength: number('length'), sparsity: number('sparsity') / 100, saveEvery: number('save') },
    };
    return { settings, data, file };
  }

  #model(): { model: ModelChoice; file: File | null } {
    if (element('model', HTMLSelectElement).value !== 'gguf') return { model: { kind: 'quickstart' }, file: null };
    const [file] = element('gguf-file', HTMLInputElement).files ?? [];
    if (!file) throw new Error('No GGUF file is chosen: choose one, drop it on the page, or take another base model.');
    return { model: { kind: 'gguf', name: file.name }, file };
  }

  async #takeData(file: File): Promise<void> {
    const bytes = new Uint8Array(await file.arrayBuffer());
    let content: string;
    try {
      content = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw new Error(
        `${file.name} is no text in UTF-8, so it is no training data; wanted JSONL, or a JSON array of objects.`,
      );
    }
    this.#show({ name: file.name, text: content });
  }

  #show(data: RunData): void {
    const isLarge = data.text.length > SHOWN;
    this.#large = isLarge ? data : null;
    this.#name = data.name;
    element('data', HTMLTextAreaElement).value = isLarge ? '' : data.text;
    this.#count();
  }

  #count(): void {
    const { text: content, name } = this.#large ?? {
      text: element('data', HTMLTextAreaElement).value,
      name: this.#name,
    };
    const lines = content.split('\n').filter((line) => line.trim() !== '').length;
    text('data-hint', content.trim() === '' ? '' : `${name}: ${lines.toLocaleString('en')} lines`);
  }

  #showChoice(): void {
    const choice = element('model', HTMLSelectElement).value;
    element('gguf-more', HTMLElement).hidden = choice !== 'gguf';
  }
}
