/**
 * @file What READMEs show works: programs compile and run, commands run, and commands that are only shown have the flags that they are shown with.
 * Everything runs in a folder of its own that looks like a clone. Needs the build that `npm test` makes before.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { transform } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createProgram } from '../packages/cli/src/program.js';
import { blocksOf, type ReadmeBlock, readmeBlocks } from './support/readme-blocks.js';

const run = promisify(execFile);
const root = process.cwd();
const blocks = readmeBlocks();

/** Programs, each with what it continues. */
const programs = blocks.flatMap((block, n) => {
  if (block.language === 'sh' || block.fragment) return [];
  let code = block.code;
  for (let before = n; blocks[before]!.continued; ) {
    do before--;
    while (blocks[before]!.language === 'sh');
    code = `${blocks[before]!.code}\n${code}`;
  }
  return [{ ...block, code, name: block.place.replace(/\W+/g, '-') }];
});
const commands = blocks.filter(({ language, fragment }) => language === 'sh' && !fragment);
const shown = blocks.filter(({ language, fragment }) => language === 'sh' && fragment);

/** The quickstart's files under the names that READMEs show. */
const STAND_INS = {
  base: 'base',
  'SmolLM2-135M': 'base',
  'HuggingFaceTB/SmolLM2-135M-Instruct': 'base',
  'Llama-3.2-1B': 'base',
  'path/to/llama': 'base',
  'train.json': 'data/train.json',
  'test.json': 'data/test.json',
  'my-sparsity.yaml': 'config/sparsity.yaml',
};

let clone: string;

/** Commands of a block, without comments, with continued lines joined. */
const linesOf = ({ code }: ReadmeBlock) =>
  code
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
    .map((line) => line.replace(/\s+#.*$/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'));

/** Whether the command's own parser takes a line; nothing is run. */
async function parses(line: string): Promise<void> {
  const words = line
    .replace(/^npx /, '')
    .replace(/\s[<>|].*$/, '')
    .match(/'[^']*'|"[^"]*"|\S+/g)!
    .map((word) => word.replace(/^(['"])(.*)\1$/, '$2'));
  const quiet = { write: () => true, isTTY: false, columns: 100 };
  const program = createProgram({ stdout: quiet, stderr: quiet, stdin: process.stdin, env: {} } as never);
  const silence = (command: typeof program): void => {
    command.exitOverride().action(() => undefined);
    for (const sub of command.commands) silence(sub);
  };
  for (const command of program.commands) silence(command);
  await program.parseAsync(words.slice(1), { from: 'user' });
}

// Some train a little; on a busy machine that takes its time.
describe('code in READMEs', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    clone = await mkdtemp(join(tmpdir(), 'spft-readme-'));
    for (const name of await readdir(root)) {
      if (!['.git', 'runs', 'test', '.turbo'].includes(name)) await symlink(join(root, name), join(clone, name));
    }
    for (const [name, what] of Object.entries(STAND_INS)) {
      await mkdir(dirname(join(clone, name)), { recursive: true });
      await symlink(join(root, 'examples/quickstart', what), join(clone, name));
    }
    await mkdir(join(clone, 'readme'));
    for (const { name, code, language } of programs)
      await writeFile(join(clone, 'readme', `${name}.${language}`), `${code}\nexport {};\n`);
  });

  afterAll(() => rm(clone, { recursive: true, force: true }));

  it('is found, with its marks', () => {
    const text = ['```ts', 'a', '```', '```ts continued', 'b', '```', '```sh fragment', 'c', '```', '```', 'd', '```'];
    expect(blocksOf('X.md', text.join('\n'))).toEqual([
      { place: 'X.md:1', language: 'ts', code: 'a', fragment: false, continued: false },
      { place: 'X.md:4', language: 'ts', code: 'b', fragment: false, continued: true },
      { place: 'X.md:7', language: 'sh', code: 'c', fragment: true, continued: false },
    ]);
    expect(() => blocksOf('X.md', '```ts\na')).toThrow('X.md:1: this block never ends');
    expect(programs.length).toBeGreaterThan(10);
  });

  it('compiles', async () => {
    const options = {
      extends: join(root, 'tsconfig.base.json'),
      compilerOptions: { noEmit: true, verbatimModuleSyntax: false, noUncheckedIndexedAccess: false },
      include: ['readme'],
    };
    await writeFile(join(clone, 'readme.json'), JSON.stringify(options));
    await writeFile(join(clone, 'readme/package.json'), '{"type":"module"}');
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [compiler, '-p', 'readme.json'], { cwd: clone }).catch((error) => {
      throw new Error(error.stdout);
    });
  });

  it.each(programs)('runs: $place', async ({ name, code }) => {
    const { code: script } = await transform(code, { loader: 'ts', format: 'esm', target: 'es2022' });
    await writeFile(join(clone, `${name}.mjs`), script);
    await run(process.execPath, [`${name}.mjs`], { cwd: clone }).catch((error) => {
      throw new Error(error.stderr);
    });
  });

  it.each(commands)('runs: $place', async (block) => {
    const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` };
    await run('sh', ['-e', '-c', block.code], { cwd: clone, env }).catch((error) => {
      throw new Error(`${error.stdout}\n${error.stderr}`);
    });
  });

  it.each(shown)('has commands that there are: $place', async (block) => {
    for (const line of linesOf(block)) {
      if (/^(npx )?spft /.test(line)) await parses(line);
      const script = /^npm (?:run |start|test)(\S*)/.exec(line);
      const folder = /-w (\S+)/.exec(line)?.[1] ?? '.';
      if (script) {
        const { scripts } = (await import(join(root, folder, 'package.json'), { with: { type: 'json' } })).default;
        const name = script[1] || (line.startsWith('npm start') ? 'start' : 'test');
        expect(scripts[name], `${line}: the script '${name}'`).toBeDefined();
      }
    }
  });
});
