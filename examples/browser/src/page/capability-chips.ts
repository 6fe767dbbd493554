/** @file What the browser has and lacks, as a row of buttons that say more when pressed: one at a time, until Escape or another press. */
import type { Capability } from '../protocol.js';
import { element } from './dom.js';

/** Shows what is said of one chip, or of none. */
function open(chip: HTMLButtonElement | null): void {
  for (const one of element('capabilities', HTMLElement).querySelectorAll('button')) {
    one.setAttribute('aria-expanded', String(one === chip));
    one.nextElementSibling!.toggleAttribute('hidden', one !== chip);
  }
}

addEventListener('keydown', ({ key }) => {
  if (key === 'Escape') open(null);
});

export function showCapabilities(all: readonly Capability[]): void {
  element('capabilities', HTMLElement).replaceChildren(
    ...all.map(({ name, available, detail }) => {
      const item = document.createElement('li');
      const chip = document.createElement('button');
      const about = document.createElement('div');
      chip.type = 'button';
      chip.className = available ? 'chip' : 'chip missing';
      chip.textContent = available ? name : `No ${name}`;
      chip.title = detail;
      chip.setAttribute('aria-expanded', 'false');
      about.className = 'about';
      about.id = `about-${name.toLowerCase()}`;
      about.textContent = `${name}: ${detail}.`;
      about.hidden = true;
      chip.setAttribute('aria-controls', about.id);
      chip.addEventListener('click', () => open(about.hidden ? chip : null));
      item.append(chip, about);
      return item;
    }),
  );
}
