/** @file How a command ends when it cannot do its work: the error of this package, and what is said of any error. */
import { CommanderError } from 'commander';
import type { Output } from './terminal/output.js';

/** A command that cannot be carried out as it was given. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code = 'SPFT_CLI';

  constructor(message: string, options: ErrorOptions & { readonly exitCode?: number; readonly silent?: boolean } = {}) {
    super(message, options);
    this.exitCode = options.exitCode ?? 1;
    this.silent = options.silent ?? false;
  }

  /** What the process exits with. */
  readonly exitCode: number;
  /** Whether another process says it. */
  readonly silent: boolean;
}

/** Says what went wrong, and whose fault it is. @returns the exit code. */
export function reportError(error: unknown, output: Output): number {
  // Commander has said it already: wrong flags, or help, which is no error.
  if (error instanceof CommanderError) return error.exitCode;
  if (error instanceof CliError && error.silent) return error.exitCode;
  const message = messageOf(error);
  if (message !== null) {
    output.error(message);
    return error instanceof CliError ? error.exitCode : 1;
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  output.error(`${stack}\nthis is a bug in spft: please report it with the command and the lines above`);
  return 1;
}

/** What to tell the user of an error that is not ours: one of our packages', or a refusal of the system. Null for a bug. */
export function messageOf(error: unknown): string | null {
  return isExpected(error) ? error.message : systemMessage(error);
}

/** Errors of our packages: their message is for the user. */
export function isExpected(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && String((error as { code?: unknown }).code).startsWith('SPFT_');
}

/** What a refusal means, and what helps. */
const REFUSALS: Readonly<Record<string, readonly [reason: string, advice: string]>> = {
  ENOSPC: ['the disk is full', 'make room and run it again'],
  EDQUOT: ['the disk quota is used up', 'make room and run it again'],
  EACCES: ['permission denied', 'choose another place or change its permissions'],
  EPERM: ['not permitted', 'choose another place or change its permissions'],
  EROFS: ['the file system is read-only', 'choose another place'],
  ENOENT: ['there is no such file or directory', 'check the path'],
  ENOTDIR: ['a part of this path is a file, not a directory', 'check the path'],
  EEXIST: ['there is a file of this name', 'choose another place'],
  EISDIR: ['this is a directory', 'name a file'],
  EMFILE: ['too many open files', 'raise the limit (ulimit -n)'],
};

/** Why the system refuses a path, in words. */
export function refusalReason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return REFUSALS[code ?? '']?.[0] ?? message;
}

/** A refusal of the operating system in words; null for anything else. */
function systemMessage(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const { code, path, syscall } = error as NodeJS.ErrnoException;
  if (syscall === undefined || code === undefined) return null;
  return `${path === undefined ? '' : `${path}: `}${REFUSALS[code]?.join('; ') ?? error.message}`;
}
