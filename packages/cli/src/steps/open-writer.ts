/** @file A model that answers: the base with an adapter merged into it, and prompts continued in batches, each by its own seed. */
import { type GenerateOptions, generate } from '@spft/models';
import { packedKind } from '@spft/sparse-ops/internals';
import type { Output } from '../terminal/output.js';
import { loadAdapter } from './attach-adapter.js';
import { openBackend } from './open-backend.js';
import { type OpenedModel, openModel } from './open-model.js';

export interface WriterFlags {
  readonly model: string;
  readonly adapter?: string;
  readonly allowOtherBase?: boolean;
  readonly revision?: string;
}

export interface Writer {
  readonly opened: OpenedModel;
  /** Texts that follow the prompts, their end tokens left out. */
  write(prompts: readonly (readonly number[])[], options: Omit<GenerateOptions, 'onToken'>): Promise<string[]>;
}

/** Opens, works, and gives everything back. */
export async function withWriter<T>(
  flags: WriterFlags,
  backend: string | undefined,
  output: Output,
  work: (writer: Writer) => Promise<T>,
): Promise<T> {
  await openBackend(backend, output);
  const opened = await openModel(flags.model, output, { revision: flags.revision });
  try {
    const peft =
      flags.adapter === undefined
        ? null
        : await loadAdapter(opened, flags.adapter, output, { allowOtherBase: flags.allowOtherBase });
    // Merged it computes the same, faster; the base is ours alone. A base in 4 bits would become a plain one.
    const isPacked = [...opened.model.linears.values()].some(({ weight }) => packedKind(weight));
    if (!isPacked) peft?.merge({ reversible: false });
    try {
      return await work({
        opened,
        write: async (prompts, options) => {
          const ids = await generate(opened.model, prompts, options);
          return ids.map((sequence) => opened.tokenizer.decode(sequence, { skipSpecialTokens: true }));
        },
      });
    } finally {
      peft?.dispose();
    }
  } finally {
    opened.model.dispose();
  }
}
