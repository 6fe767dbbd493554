/** @file What the browser has and lacks, as a row of buttons that say more when pressed. */
import type { Capability } from '../protocol.js';
import { element } from './dom.js';

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
      chip.addEventListener('click', () => {
        about.hidden = !about.hidden;
        chip.setAttribute('aria-expanded', String(!about.hidden));
      });
      item.append(chip, about);
      return item;
    }),
  );
}
