/** @file Results as JSON lines while they are made: after a crash or on a full disk, what is there are whole lines. */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CliError } from '../errors.js';

export class JsonlWriter {
  #size = 0;
  #lines = 0;

  private constructor(
    readonly path: string,
    readonly file: FileHandle,
  ) {}

  /** Replaces what is at `path`. */
  static async open(path: string): Promise<JsonlWriter> {
    await mkdir(dirname(path), { recursive: true });
    return new JsonlWriter(path, await open(path, 'w'));
  }

  /**
   * @throws CliError where the system takes no more, saying what is there: whole lines, as the part of a line that it took is taken back.
   */
  async write(value: unknown): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(value)}\n`);
    try {
      // At a place of our own: the file's would stand behind what is taken back.
      for (let done = 0; done < line.length; ) {
        const { bytesWritten } = await this.file.write(line, done, line.length - done, this.#size + done);
        done += bytesWritten;
      }
    } catch (cause) {
      await this.file.truncate(this.#size).catch(() => {});
      const { code, message } = cause as NodeJS.ErrnoException;
      const problem = code === 'ENOSPC' || code === 'EDQUOT' ? 'the disk is full' : message;
      throw new CliError(
        `${this.path}: ${problem} after ${this.#lines} lines, which are whole and stay; make room, or name another place, and run it again`,
        { cause },
      );
    }
    this.#size += line.length;
    this.#lines += 1;
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}
