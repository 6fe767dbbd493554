/** @file Finding elements of the page by the ids in index.html. */

/** @throws Error where the page has no such element of such a kind: a mistake in index.html. */
export function element<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`internal: the page has no ${kind.name} '${id}'`);
}

export const text = (id: string, content: string): void => {
  element(id, HTMLElement).textContent = content;
};

/** Gives a file to the visitor as a download. */
export function download(file: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  // The download has its own hold on the bytes once it has begun.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
