/** @file What is used of `@huggingface/tokenizers`, whose own declarations import without extensions, which TypeScript does not follow under `nodenext`. */
import * as library from '@huggingface/tokenizers';

interface Parts {
  readonly BPE: new (config: object) => { bpe(piece: string): string[] };
  readonly SplitPreTokenizer: new (config: object) => { readonly pattern: RegExp | null };
}

export const { BPE, SplitPreTokenizer } = library as unknown as Parts;
