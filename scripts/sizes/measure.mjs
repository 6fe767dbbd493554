/**
 * @file How much an install and a bundle of each package take, and what of it tfjs's parts are: fills the tables of docs/SIZES.md.
 *
 * usage: node scripts/sizes/measure.mjs [--write]        after `npm run build`; packages come from the registry
 */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const PACKAGES = ['safetensors', 'gguf', 'sparse-ops', 'backend-webgpu', 'models', 'cli'];
const root = process.cwd();
const scratch = mkdtempSync(join(tmpdir(), 'spft-sizes-'));
const manifestOf = (name) => JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8'));

/** A package of this repository and those of it that it needs. */
function closure(name, found = new Set()) {
  found.add(name);
  for (const other of Object.keys(manifestOf(name).dependencies ?? {})) {
    const own = /^@spft\/(.+)$/.exec(other)?.[1];
    if (own !== undefined && !found.has(own)) closure(own, found);
  }
  return found;
}

const tarballs = new Map();
function tarball(name) {
  if (!tarballs.has(name)) {
    const out = execFileSync('npm', ['pack', '--json', '--pack-destination', scratch], {
      cwd: join(root, 'packages', name),
      encoding: 'utf8',
    });
    tarballs.set(name, join(scratch, Object.values(JSON.parse(out))[0].filename));
  }
  return tarballs.get(name);
}

/** Bytes below a directory: all, of source maps, and by package. */
function sizesOf(directory) {
  const sizes = { bytes: 0, maps: 0, tfjs: 0, files: 0 };
  const walk = (path, isTfjs) => {
    for (const entry of readdirSync(path)) {
      const full = join(path, entry);
      const stat = lstatSync(full);
      if (stat.isDirectory()) walk(full, isTfjs || entry === '@tensorflow');
      else {
        sizes.bytes += stat.size;
        sizes.files += 1;
        if (entry.endsWith('.map')) sizes.maps += stat.size;
        if (isTfjs) sizes.tfjs += stat.size;
      }
    }
  };
  walk(directory, false);
  return sizes;
}

/** Installs these in an empty project, as a user would. */
function installed(label, dependencies, ...flags) {
  const project = join(scratch, label);
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, dependencies }));
  execFileSync(
    'npm',
    ['install', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', ...flags],
    { cwd: project },
  );
  const sizes = sizesOf(join(project, 'node_modules'));
  rmSync(project, { recursive: true });
  return sizes;
}

const own = (name) => Object.fromEntries([...closure(name)].map((one) => [`@spft/${one}`, `file:${tarball(one)}`]));

/** tfjs-core, its gradients and one backend in the place of the whole: what `sideEffects` of the core's manifest would leave out is kept. */
const parts = {
  name: 'tfjs-parts',
  setup(builder) {
    builder.onResolve({ filter: /^@tensorflow\/tfjs$/ }, () => ({ path: 'parts', namespace: 'parts' }));
    builder.onLoad({ filter: /.*/, namespace: 'parts' }, () => ({
      contents:
        "import '@tensorflow/tfjs-core/dist/register_all_gradients'; import '@tensorflow/tfjs-backend-cpu'; export * from '@tensorflow/tfjs-core';",
      resolveDir: root,
    }));
  },
};

async function bundled(name, options) {
  const { outputFiles } = await build({
    stdin: { contents: `export * from '@spft/${name}'`, resolveDir: root, loader: 'js' },
    ...{ bundle: true, write: false, minify: true, platform: 'browser', format: 'esm', logLevel: 'silent' },
    ...options,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const kb = (bytes) => `${(bytes / 1e3).toFixed(0)} kB`;
const table = (head, rows) =>
  [head, head.map((_, n) => (n === 0 ? '---' : '--:')), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

try {
  const installs = [];
  const row = (label, { bytes, maps, tfjs, files }) =>
    installs.push([label, mb(bytes), mb(bytes - maps), mb(tfjs), String(files)]);
  for (const name of PACKAGES) {
    console.log(`npm install @spft/${name}`);
    row(`\`@spft/${name}\``, installed(name, own(name)));
  }
  const { version } = JSON.parse(readFileSync(join(root, 'node_modules/@tensorflow/tfjs-core/package.json'), 'utf8'));
  const core = { '@tensorflow/tfjs-core': version, '@tensorflow/tfjs-backend-cpu': version };
  // Peers are given by name, so that the whole of tfjs is not installed for its sake.
  row(
    '`@spft/sparse-ops`, tfjs-core and the backend `cpu` in the place of tfjs',
    installed('core', { ...own('sparse-ops'), ...core }, '--legacy-peer-deps'),
  );
  const wasm = { ...core, '@tensorflow/tfjs-backend-wasm': version };
  row(
    'the same with the backend `wasm`',
    installed('core-wasm', { ...own('sparse-ops'), ...wasm }, '--legacy-peer-deps'),
  );

  const bundles = [];
  for (const name of PACKAGES.filter((one) => one !== 'cli')) {
    console.log(`bundle @spft/${name}`);
    const uses = /tfjs/.test(JSON.stringify(manifestOf(name).peerDependencies ?? {}));
    bundles.push([
      `\`@spft/${name}\``,
      kb(await bundled(name, { external: ['@tensorflow/*'] })),
      uses ? kb(await bundled(name, {})) : '–',
      uses ? kb(await bundled(name, { plugins: [parts] })) : '–',
    ]);
  }
  const filled = {
    installs: table(['npm install', 'bytes', 'without source maps', 'of it tfjs', 'files'], installs),
    bundles: table(
      ['bundle, minified and gzipped', 'without tfjs', 'with tfjs', 'with tfjs-core, all gradients, backend `cpu`'],
      bundles,
    ),
  };
  console.log(`${filled.installs}\n\n${filled.bundles}`);
  if (process.argv.includes('--write')) {
    const path = join(root, 'docs/SIZES.md');
    let text = readFileSync(path, 'utf8');
    for (const [name, made] of Object.entries(filled)) {
      text = text.replace(
        new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`),
        (_, begin, end) => `${begin}${made}\n${end}`,
      );
    }
    writeFileSync(path, text);
  }
} finally {
  rmSync(scratch, { recursive: true });
}
