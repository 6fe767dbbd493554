/** @file What the program and its commands agree on: how a command is added, and what its action is given. */
import type { Command } from 'commander';
import type { Output } from '../terminal/output.js';

/** Flags that every command has. */
export interface GlobalFlags {
  readonly quiet?: boolean;
  readonly backend?: string;
}

/** What an action gets besides its own flags. */
export interface ActionContext extends GlobalFlags {
  readonly output: Output;
}

/** Adds its command to the program; `context` gives what the command's action needs. */
export type AddCommand = (program: Command, context: (command: Command) => ActionContext) => void;
