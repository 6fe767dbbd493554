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
/** Whether a file is made for the visitor. */
let taking = false;

function showError(error: unknown): void {
  const box = element('error', HTMLElement);
  box.hidden = error === null;
  box.textContent = error === null ? '' : (error as Error).message;
  // The button that was pressed may be far from where it is said.
  if (error !== null) box.scrollIntoView({ block: 'nearest' });
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
      if (taking) text('take-status', element('status', HTMLElement).textContent ?? '');
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
  const at = document.activeElement;
  const wasAtPause = at === button('pause-button');
  const wasAtStart = ['setup', 'resume'].some((id) => element(id, HTMLElement).contains(at)) && !wasAtPause;
  element('fields', HTMLFieldSetElement).disabled = running;
  button('start-button').hidden = running;
  button('pause-button').hidden = !running;
  // What had the focus is gone; whoever has no pointer goes on from what stands in its place.
  if (running && wasAtStart) button('pause-button').focus({ preventScroll: true });
  if (!running && wasAtPause) button('start-button').focus({ preventScroll: true });
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
  showButtons(true);
  element('resume', HTMLElement).hidden = true;
  showStatus('Starting …');
  // Below the form, where the screen is narrow.
  if (matchMedia('(max-width: 900px)').matches) element('training', HTMLElement).scrollIntoView({ block: 'start' });
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
  const at = document.activeElement;
  for (const id of ids) button(id).disabled = true;
  try {
    await work();
  } catch (error) {
    showError(error);
  } finally {
    for (const id of ids) button(id).disabled = false;
    // A button that is switched off loses the focus.
    if (document.activeElement === document.body && at instanceof HTMLElement) at.focus({ preventScroll: true });
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

/** Gives a file to the visitor, and says beside the buttons what becomes of it. */
function take(id: string, ask: () => Promise<{ readonly file: Blob; readonly name: string }>): void {
  button(id).addEventListener('click', () =>
    guarded([id], async () => {
      taking = true;
      text('take-status', 'Making the file …');
      try {
        const { file, name } = await ask();
        download(file, name);
        const done = `${name}: ${(file.size / 1e6).toFixed(1)} MB, read again and compared.`;
        text('take-status', done);
        if (button('pause-button').hidden) showStatus(done, 1);
      } catch (error) {
        text('take-status', '');
        throw error;
      } finally {
        taking = false;
      }
    }),
  );
}

take('adapter-button', () => client.request('adapter', {}));

for (const [id, ask] of [
  ['merged-button', { what: 'merged', type: 'f16' }],
  ['merged-q8-button', { what: 'merged', type: 'q8_0' }],
  ['lora-button', { what: 'adapter', type: 'f16' }],
] as const) {
  take(id, () => client.request('gguf', ask));
}

hello()
  .then(({ capabilities, backends, saved }) => {
    showCapabilities(capabilities);
    form.showBackends(backends);
    showSaved(saved);
    document.documentElement.dataset.ready = 'true';
  })
  .catch(showError);
