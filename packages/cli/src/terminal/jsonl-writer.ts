/** @file Results as JSON lines while they are made: after a crash or on a full disk, what is there are whole lines. */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';

export class JsonlWriter {
  #size = 0;

  private constructor(
    readonly path: string,
    readonly file: FileHandle,
  ) {}

  /** Replaces what is at `path`. */
  static async open(path: string): Promise<JsonlWriter> {
    await mkdir(dirname(path), { recursive: true });
    return new JsonlWriter(path, await open(path, 'w'));
  }

  /** @throws what the system refuses, after taking back the part of the line that it took. */
  async write(value: unknown): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(value)}\n`);
    try {
      await this.file.writeFile(line);
      this.#size += line.length;
    } catch (error) {
      await this.file.truncate(this.#size).catch(() => {});
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}
