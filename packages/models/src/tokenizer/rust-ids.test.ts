import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { createTokenizer } from './hugging-face-tokenizer.js';

interface Variant {
  readonly name: string;
  readonly base: 'llama2' | 'llama3';
  readonly patch: { model?: object; split_special_tokens?: boolean };
  readonly hashes: string[];
}
const fixture = (path: string) => readFileSync(new URL(`../../fixtures/${path}`, import.meta.url));
const { texts, variants } = JSON.parse(gunzipSync(fixture('rust-ids.json.gz')).toString()) as {
  texts: string[];
  variants: Variant[];
};
const bases = Object.fromEntries(
  (['llama2', 'llama3'] as const).map((name) => [
    name,
    JSON.parse(fixture(`tokenizers/${name}/tokenizer.json`).toString()),
  ]),
);
/** As Python's json.dumps writes it with ensure_ascii. */
const ascii = (value: unknown) =>
  JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

describe('createTokenizer(), against the Rust library on 3,200 texts', () => {
  it('has so many texts', () => {
    expect(new Set(texts).size).toBeGreaterThan(3000);
  });

  it.each(variants.map((v) => [v.name, v] as const))('%s', (_, { base, patch, hashes }) => {
    const { model, split_special_tokens, ...rest } = patch;
    const json = { ...bases[base], ...rest, model: { ...bases[base].model, ...model } };
    const tokenizer = createTokenizer({ tokenizer: json, config: { split_special_tokens } });
    const rows = texts.map((text) => {
      const ids = tokenizer.encode(text);
      const bare = tokenizer.encode(text, { addSpecialTokens: false });
      return [ids, bare, tokenizer.decode(ids), tokenizer.decode(ids, { skipSpecialTokens: true })];
    });
    const found = hashes.map((_, n) =>
      createHash('sha1')
        .update(ascii(rows.slice(16 * n, 16 * n + 16)))
        .digest('hex')
        .slice(0, 8),
    );
    const wrong = hashes.flatMap((hash, n) => (found[n] === hash ? [] : [n]));
    expect(wrong, 'blocks of 16 texts that differ').toEqual([]);
  });
});
