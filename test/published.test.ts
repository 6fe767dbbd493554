import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const root = process.cwd();

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
}

let project: string;
let packages: { readonly manifest: Manifest; readonly tarball: string }[];
let offline = false;

/** Every entry of a package that code can import, by the name it is imported under. */
const entries = ({ name, exports }: Manifest) =>
  Object.keys(exports)
    .filter((path) => !path.includes('*'))
    .map((path) => name + path.slice(1));

/** What users get: packed, installed in an empty project, imported as ESM, with types. Needs the build that `npm test` makes before. */
describe('published form', () => {
  beforeAll(async () => {
    project = await mkdtemp(join(tmpdir(), 'spft-published-'));
    const names = (await readdir('packages')).sort();
    packages = await Promise.all(
      names.map(async (name) => {
        const manifest = JSON.parse(await readFile(join('packages', name, 'package.json'), 'utf8')) as Manifest;
        const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', project], {
          cwd: join(root, 'packages', name),
        });
        const [packed] = Object.values(JSON.parse(stdout)) as { filename: string }[];
        return { manifest, tarball: packed!.filename };
      }),
    );
    const dependencies = Object.fromEntries(packages.map((p) => [p.manifest.name, `file:${p.tarball}`]));
    const shared = JSON.parse(await readFile('package.json', 'utf8')).devDependencies as Record<string, string>;
    for (const name of ['@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm', '@types/node'])
      dependencies[name] = shared[name]!;
    await writeFile(join(project, 'package.json'), JSON.stringify({ type: 'module', private: true, dependencies }));
    try {
      await run('npm', ['install', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund'], {
        cwd: project,
      });
    } catch (error) {
      offline = /ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ENETUNREACH/.test(String((error as { stderr?: string }).stderr));
      if (!offline) throw error;
    }
  }, 300_000);

  afterAll(() => rm(project, { recursive: true, force: true }));

  it('imports as ESM, every entry, quietly', async (context) => {
    if (offline) context.skip('the package registry is not reachable');
    const names = packages.flatMap((p) => entries(p.manifest)).filter((name) => name !== '@spft/cli');
    const code = names
      .map((name) => `console.log('${name}', Object.keys(await import('${name}')).length > 0)`)
      .join('\n');
    await writeFile(join(project, 'entries.mjs'), code);
    const { stdout, stderr } = await run(process.execPath, ['entries.mjs'], { cwd: project });
    expect(stdout.trim().split('\n')).toEqual(names.map((name) => `${name} true`));
    expect(stderr).toBe('');
  });

  it('has types that compile', async (context) => {
    if (offline) context.skip('the package registry is not reachable');
    await mkdir(join(project, 'src'), { recursive: true });
    const imports = packages.flatMap((p) => entries(p.manifest)).map((name, n) => `export * as m${n} from '${name}';`);
    await writeFile(join(project, 'src/all.ts'), imports.join('\n'));
    await writeFile(
      join(project, 'src/use.ts'),
      [
        "import { keptChannels } from '@spft/sparse-ops';",
        "import type { SparsityEstimator } from '@spft/estimator';",
        'export const kept: number = keptChannels(160, 0.9);',
        '// @ts-expect-error sparsity is a number',
        "keptChannels(160, 'most');",
        "export const needs = (e: SparsityEstimator): 'input' | 'activations' => e.needs;",
      ].join('\n'),
    );
    const options = {
      strict: true,
      noEmit: true,
      module: 'nodenext',
      target: 'es2022',
      lib: ['es2022', 'dom'],
      types: ['node'],
    };
    await writeFile(
      join(project, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: { ...options, skipLibCheck: true }, include: ['src'] }),
    );
    await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project]).catch((error) => {
      throw new Error(error.stdout);
    });
  });

  it('brings the spft command', async (context) => {
    if (offline) context.skip('the package registry is not reachable');
    const { stdout } = await run(join(project, 'node_modules/.bin/spft'), ['--version'], { cwd: project });
    expect(stdout.trim()).toBe(packages.find((p) => p.manifest.name === '@spft/cli')!.manifest.version);
  });
});
