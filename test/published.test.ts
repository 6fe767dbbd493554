import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const root = process.cwd();

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly repository: { readonly directory: string };
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

  it('holds the licence, maps with their sources, and nothing that is not of the package', async () => {
    const licence = await readFile('LICENSE', 'utf8');
    for (const { manifest, tarball } of packages) {
      const folder = join('packages', manifest.name.slice('@spft/'.length));
      expect(await readFile(join(folder, 'LICENSE'), 'utf8'), manifest.name).toBe(licence);
      expect(manifest.repository.directory).toBe(folder);
      const { stdout } = await run('tar', ['-tzf', join(project, tarball)]);
      const files = stdout.trim().split('\n');
      expect(files).toContain('package/LICENSE');
      expect(files.filter((file) => /\.(test|bench)\.|bundle|\.tsbuildinfo$/.test(file))).toEqual([]);
      // References are what a conformance suite holds a backend against; elsewhere they are tests'.
      const references = files.filter((file) => file.includes('.reference.'));
      if (!manifest.exports['./conformance']) expect(references).toEqual([]);
      for (const file of files.filter((file) => /dist\/.*\.js$/.test(file) && !file.includes('.generated.'))) {
        expect(files, `${manifest.name}: the map of ${file}`).toContain(`${file}.map`);
      }
      const map = JSON.parse(await readFile(join(folder, 'dist/index.js.map'), 'utf8')) as {
        sourcesContent?: unknown[];
      };
      expect(map.sourcesContent?.length).toBeGreaterThan(0);
    }
  });

  it('is what publint and attw want of a package of ES modules', async () => {
    for (const { manifest, tarball } of packages) {
      const bytes = await readFile(join(project, tarball));
      const content = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
      const { messages, pkg } = await publint({ pack: { tarball: content }, strict: true });
      expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
      const checked = await checkPackage(createPackageFromTarballData(new Uint8Array(content)));
      if (!checked.types) throw new Error(`${manifest.name} has no types`);
      // Only ES modules are published, for Node 20 and bundlers: `require` and resolution as before exports are not promised.
      const problems = checked.problems.filter(
        (problem) => !('resolutionKind' in problem && ['node10', 'node16-cjs'].includes(problem.resolutionKind)),
      );
      expect(problems, manifest.name).toEqual([]);
    }
  });

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
      lib: ['es2022'],
      types: ['node'],
    };
    await writeFile(
      join(project, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: { ...options, skipLibCheck: false }, include: ['src'] }),
    );
    // tfjs's own declarations want the names of browsers and contradict themselves in places; ours do not, whatever libs a project has.
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    const { stdout } = await run(process.execPath, [compiler, '-p', project]).catch(
      (error) => error as { stdout: string },
    );
    const problems = stdout.split('\n').filter((line) => /^\S+\(\d+,\d+\): error/.test(line));
    expect(problems.filter((line) => !/^\S*node_modules\/(@tensorflow|@webgpu)\//.test(line))).toEqual([]);
  });

  it('brings the spft command', async (context) => {
    if (offline) context.skip('the package registry is not reachable');
    const { stdout } = await run(join(project, 'node_modules/.bin/spft'), ['--version'], { cwd: project });
    expect(stdout.trim()).toBe(packages.find((p) => p.manifest.name === '@spft/cli')!.manifest.version);
  });
});
