/** @file The end of a file of lines to which a killed run was writing. */
import { open } from 'node:fs/promises';

/** What a killed run has left of its last line goes, so that it does not swallow the next one; a whole line without its end gets one. */
export async function endLastLine(path: string): Promise<void> {
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
