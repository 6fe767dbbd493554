/**
 * @file The backends for CUDA and BLAS work without the ops: nothing of `@spft/sparse-ops` is loaded, and the types that a user of them sees do not name
 * it. Needs the build that `npm test` makes before.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** What a compiled file imports, by name. */
const importsOf = (file: string) =>
  [...readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map(([, name]) => name!);

/** Packages that a declaration file needs, by way of all that it imports. */
function packagesNamedBy(file: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>();
  if (seen.has(file)) return packages;
  seen.add(file);
  for (const name of importsOf(file)) {
    if (!name.startsWith('.')) packages.add(name);
    else
      for (const other of packagesNamedBy(join(dirname(file), name.replace(/\.js$/, '.d.ts')), seen))
        packages.add(other);
  }
  return packages;
}

describe.each(['backend-cuda', 'backend-blas'])('%s', (name) => {
  const dist = join('packages', name, 'dist');

  it('loads nothing of another package of spft', () => {
    expect(existsSync(join(dist, 'index.js')), 'run npm run build first').toBe(true);
    const scripts = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'));
    expect(scripts.length).toBeGreaterThan(10);
    const foreign = scripts.flatMap((file) =>
      importsOf(join(dist, file)).flatMap((from) =>
        from.startsWith('@spft/') && from !== `@spft/${name}` ? [`${file}: ${from}`] : [],
      ),
    );
    expect(foreign).toEqual([]);
  });

  it('shows its users no type of another package of spft', () => {
    const named = [...packagesNamedBy(join(dist, 'index.d.ts'))];
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((from) => from.startsWith('@spft/'))).toEqual([]);
  });
});
