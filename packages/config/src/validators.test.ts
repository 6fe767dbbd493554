import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
// @ts-expect-error a script without types
import { compile } from '../validators/compile.mjs';

const FILE = new URL('./validators.generated.ts', import.meta.url);

describe('the compiled validators', () => {
  it('are what the schemas compile to; if not, run npm run validators -w @spft/config', async () => {
    expect(readFileSync(FILE, 'utf8')).toBe(await compile());
  });

  it('make no code at run time: they pass a content security policy without unsafe-eval', () => {
    expect(readFileSync(FILE, 'utf8')).not.toMatch(/\beval\(|new Function\(/);
  });
});
