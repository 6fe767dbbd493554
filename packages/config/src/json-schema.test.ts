import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { SCHEMAS } from './json-schema.js';

describe('the published schemas', () => {
  it.each(Object.entries(SCHEMAS))('schemas/%s.schema.json is the one that the loader uses', async (name, schema) => {
    // After a change of the tables: npx vitest run packages/config -u
    const file = fileURLToPath(new URL(`../schemas/${name}.schema.json`, import.meta.url));
    await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(file);
  });

  it('describe every key', () => {
    for (const { properties } of Object.values(SCHEMAS)) {
      for (const property of Object.values(properties!)) expect(property.description).toMatch(/\w/);
    }
  });
});
