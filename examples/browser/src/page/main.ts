/** @file The page's entry: buttons to requests, events to what is shown. */
import type { RunEnd, SavedRun, WorkerEvent } from '../protocol.js';
import { showCapabilities } from './capability-chips.js';
import { download, element, text } from './dom.js';
import { RunView } from './run-view.js';
import { SetupForm } from './setup-form.js';
import { WorkerClient } from './worker-client.js';

const client = new WorkerClient(new URL('worker.js', document.baseURI), onEvent);
const view = new RunView();
const form = new SetupForm(showError);

const button = (id: string) => element(id, HTMLButtonElement);
const progress = element('progress', HTMLProgressElement);
const NEED_A_RUN = ['ask-button', 'adapter-button', 'merged-button', 'merged-q8-button', 'lora-button'];
let trained = false;

function showError(error: unknown): void {
  const box = element('error', HTMLElement);
  box.hidden = error === null;
  box.textContent = error === null ? '' : (error as Error).message;
}

function showStatus(content: string, fraction: number | null = null): void {
  text('status', content);
  if (fraction === null) progress.removeAttribute('value');
  else progress.value = fraction;
}

function onEvent(event: WorkerEvent): void {
  switch (event.event) {
    case 'status':
      showStatus(`${event.text} …`, event.fraction);
      break;
    case 'notice': {
      const item = document.createElement('li');
      item.textContent = event.text;
      element('notices', HTMLElement).append(item);
      break;
    }
    case 'run':
      view.begin(event.settings, event.history, event.step);
      showStatus(
        event.step > 0 ? `Going on from step ${event.step}.` : 'Training …',
        event.step / event.settings.steps,
      );
      trained = true;
      showButtons(true);
      break;
    case 'step':
      view.step(event.entry);
      progress.value = event.entry.step / event.entry.totalSteps;
      break;
    case 'map':
      view.map(event.map);
      break;
    case 'saved':
      text('status', `Training. Saved at step ${event.step}: a closed tab loses no more than the steps after it.`);
      break;
    case 'token':
      text(event.side, event.text);
      break;
  }
}

function showButtons(running: boolean): void {
  element('fields', HTMLFieldSetElement).disabled = running;
  button('start-button').hidden = running;
  button('pause-button').hidden = !running;
  button('pause-button').disabled = false;
  button('forget-button').disabled = running;
  for (const id of NEED_A_RUN) button(id).disabled = !trained;
}

function showSaved(saved: SavedRun | null): void {
  element('resume', HTMLElement).hidden = saved === null || saved.step >= saved.settings.steps;
  if (!saved) return;
  const { settings, step, data } = saved;
  const method = settings.method === 'lora' ? 'LoRA' : 'SparseLoRA';
  text('resume-text', `${method} on ${data.name}: ${step} of ${settings.steps} steps are saved.`);
}

async function run(ask: () => Promise<RunEnd>): Promise<void> {
  showError(null);
  // So that models and checkpoints are not the first to go where the disk gets full; browsers may say no.
  void navigator.storage?.persist?.().catch(() => false);
  element('notices', HTMLElement).replaceChildren();
  element('resume', HTMLElement).hidden = true;
  showButtons(true);
  showStatus('Starting …');
  try {
    const { status, step, trainable, all } = await ask();
    const numbers = `${trainable.toLocaleString('en')} of ${all.toLocaleString('en')} numbers were trained`;
    showStatus(
      status === 'finished' ? `Done after ${step} steps: ${numbers}.` : `Paused at step ${step}.`,
      progress.value,
    );
  } catch (error) {
    showError(error);
    showStatus('Stopped.', 0);
  }
  showButtons(false);
  showSaved((await hello()).saved);
}

const deviceMemory = (navigator as { readonly deviceMemory?: number }).deviceMemory ?? null;
const hello = () => client.request('hello', { deviceMemory });

async function guarded(ids: readonly string[], work: () => Promise<void>): Promise<void> {
  showError(null);
  for (const id of ids) button(id).disabled = true;
  try {
    await work();
  } catch (error) {
    showError(error);
  } finally {
    for (const id of ids) button(id).disabled = false;
  }
}

element('setup', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  try {
    const chosen = form.read();
    void run(() => client.request('start', chosen));
  } catch (error) {
    showError(error);
  }
});
button('resume-button').addEventListener('click', () => void run(() => client.request('resume', {})));
button('pause-button').addEventListener('click', () => {
  button('pause-button').disabled = true;
  text('status', 'Pausing after this step …');
  void client.request('pause', {});
});
button('discard-button').addEventListener('click', () =>
  guarded(['discard-button'], async () => {
    await client.request('forget', { models: false });
    showSaved(null);
  }),
);
button('forget-button').addEventListener('click', () =>
  guarded(['forget-button'], async () => {
    await client.request('forget', { models: true });
    showSaved(null);
    showStatus('Nothing is kept in this browser now.', 0);
  }),
);
element('chat', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  void guarded(['ask-button'], async () => {
    text('before', '…');
    text('after', '…');
    const question = element('question', HTMLTextAreaElement).value;
    const { before, after } = await client.request('chat', { text: question, maxNewTokens: 64 });
    text('before', before);
    text('after', after);
  });
});
button('adapter-button').addEventListener('click', () =>
  guarded(['adapter-button'], async () => {
    const { file, name } = await client.request('adapter', {});
    download(file, name);
  }),
);

for (const [id, ask] of [
  ['merged-button', { what: 'merged', type: 'f16' }],
  ['merged-q8-button', { what: 'merged', type: 'q8_0' }],
  ['lora-button', { what: 'adapter', type: 'f16' }],
] as const) {
  button(id).addEventListener('click', () =>
    guarded([id], async () => {
      const { file, name } = await client.request('gguf', ask);
      download(file, name);
      showStatus(`${name}: ${(file.size / 1e6).toFixed(1)} MB, read again and compared.`, 1);
    }),
  );
}

hello()
  .then(({ capabilities, backends, saved }) => {
    showCapabilities(capabilities);
    form.showBackends(backends);
    showSaved(saved);
    document.documentElement.dataset.ready = 'true';
  })
  .catch(showError);
