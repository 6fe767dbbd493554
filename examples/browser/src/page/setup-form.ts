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
  /** Fields that the visitor has filled. */
  readonly #touched = new Set<string>();
  readonly #onError: (error: Error) => void;

  constructor(onError: (error: Error) => void) {
    this.#onError = onError;
    const drop = element('drop', HTMLElement);
    const model = element('model', HTMLSelectElement);
    model.addEventListener('change', () => {
      this.#showChoice();
      this.#suit();
    });
    for (const id of ['rate', 'batch', 'length', 'save']) {
      element(id, HTMLInputElement).addEventListener('input', () => this.#touched.add(id));
    }
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
    const chosen = element('model', HTMLSelectElement).value;
    if (chosen === 'quickstart') return { model: { kind: 'quickstart' }, file: null };
    if (chosen === 'gguf') {
      const [file] = element('gguf-file', HTMLInputElement).files ?? [];
      if (!file)
        throw new Error('No GGUF file is chosen: choose one, drop it on the page, or take another base model.');
      return { model: { kind: 'gguf', name: file.name }, file };
    }
    const id = chosen === 'hub' ? element('hub-id', HTMLInputElement).value.trim() : chosen;
    if (id === '') throw new Error('No model is named: give its id on the hub, e.g. HuggingFaceTB/SmolLM2-135M.');
    const endpoint = element('hub-address', HTMLInputElement).value.trim().replace(/\/+$/, '');
    if (!URL.canParse(endpoint))
      throw new Error(`'${endpoint}' is no address of a hub; wanted https://huggingface.co or a mirror.`);
    return { model: { kind: 'hub', id, endpoint }, file: null };
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
    const kilobytes = Math.ceil(content.length / 1000).toLocaleString('en');
    text('data-hint', content.trim() === '' ? '' : `${name}: ${kilobytes} kB`);
  }

  #showChoice(): void {
    const choice = element('model', HTMLSelectElement).value;
    element('gguf-more', HTMLElement).hidden = choice !== 'gguf';
    element('hub-more', HTMLElement).hidden = choice !== 'hub';
  }

  /** What suits a model of this size on WebAssembly, where the visitor has not chosen otherwise. */
  #suit(): void {
    const isSmall = element('model', HTMLSelectElement).value === 'quickstart';
    const suited = isSmall
      ? { rate: '0.003', batch: '8', length: '256', save: '10' }
      : { rate: '0.0005', batch: '2', length: '128', save: '5' };
    for (const [id, value] of Object.entries(suited)) {
      const input = element(id, HTMLInputElement);
      if (!this.#touched.has(id)) input.value = value;
    }
  }
}
