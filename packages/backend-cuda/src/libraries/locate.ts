/**
 * @file Where the CUDA libraries are: `SPFT_CUDA_PATH`, the dynamic loader's own places, CUDA toolkits, and the folders of NVIDIA's pip wheels.
 */
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';

export type LibraryName = 'driver' | 'nvrtc' | 'cublasLt' | 'nccl';

/** File names by library, newest first. Versions 12 and 13 of the toolkit. */
const FILES: Readonly<Record<LibraryName, readonly string[]>> =
  process.platform === 'win32'
    ? {
        driver: ['nvcuda.dll'],
        nvrtc: ['nvrtc64_130_0.dll', 'nvrtc64_120_0.dll'],
        cublasLt: ['cublasLt64_13.dll', 'cublasLt64_12.dll'],
        // There is none for Windows.
        nccl: [],
      }
    : {
        driver: ['libcuda.so.1', 'libcuda.so'],
        nvrtc: ['libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so'],
        cublasLt: ['libcublasLt.so.13', 'libcublasLt.so.12', 'libcublasLt.so'],
        nccl: ['libnccl.so.2', 'libnccl.so'],
      };

const DRIVER_FOLDERS = ['/usr/local/nvidia/lib64', '/usr/lib/wsl/lib', '/usr/lib/x86_64-linux-gnu', '/usr/lib64'];

/** Folders below a root that may hold toolkit libraries: a toolkit itself, or a site-packages with NVIDIA's wheels. */
function foldersBelow(root: string): string[] {
  const wheels = ['cu13', 'cuda_nvrtc', 'cublas', 'nccl'].map((name) => join(root, 'nvidia', name, 'lib'));
  return [
    root,
    join(root, 'lib64'),
    join(root, 'lib'),
    join(root, 'targets', 'x86_64-linux', 'lib'),
    join(root, 'bin'),
    ...wheels,
  ];
}

/** `python3.X/site-packages` of the usual Python installations. */
function sitePackages(): string[] {
  const roots = [
    ...(process.env.VIRTUAL_ENV ? [join(process.env.VIRTUAL_ENV, 'lib')] : []),
    ...(process.env.CONDA_PREFIX ? [join(process.env.CONDA_PREFIX, 'lib')] : []),
    ...pythonRoots(),
    ...(process.env.HOME ? [join(process.env.HOME, '.local', 'lib')] : []),
    '/usr/local/lib',
    '/usr/lib',
    '/opt/conda/lib',
  ];
  return roots.flatMap((root) =>
    list(root)
      .filter((name) => name.startsWith('python3'))
      .flatMap((name) => [join(root, name, 'site-packages'), join(root, name, 'dist-packages')]),
  );
}

/** `lib` beside each `python3` of the PATH, and beside what it links to: a virtual environment need not be active to be used. */
function pythonRoots(): string[] {
  const roots = new Set<string>();
  for (const folder of (process.env.PATH ?? '').split(delimiter).filter(Boolean)) {
    let file = join(folder, 'python3');
    for (let links = 0; links < 8 && existsSync(file); links++) {
      roots.add(join(dirname(dirname(file)), 'lib'));
      try {
        file = resolve(dirname(file), readlinkSync(file));
      } catch {
        break;
      }
    }
  }
  return [...roots];
}

function toolkits(): string[] {
  const given = ['CUDA_HOME', 'CUDA_PATH'].flatMap((name) => process.env[name] ?? []);
  const installed = list('/usr/local')
    .filter((name) => /^cuda(-1[23](\.\d+)?)?$/.test(name))
    .sort()
    .reverse();
  return [...given, ...installed.map((name) => join('/usr/local', name))];
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * Paths to try for a library, best first. With `SPFT_CUDA_PATH`, a folder, nothing outside of it is tried but the driver's usual places when the
 * folder has no driver. The last ones are plain names, for the dynamic loader to find. NCCL is `SPFT_NCCL_PATH`, a file or a folder, where that is set.
 */
export function candidates(library: LibraryName, env: NodeJS.ProcessEnv = process.env): string[] {
  const files = FILES[library];
  const within = (folders: readonly string[]) =>
    folders.flatMap((folder) => files.map((file) => join(folder, file))).filter((path) => existsSync(path));
  if (library === 'nccl' && env.SPFT_NCCL_PATH) {
    return /\.so(\.\d+)*$/.test(env.SPFT_NCCL_PATH) ? [env.SPFT_NCCL_PATH] : within(foldersBelow(env.SPFT_NCCL_PATH));
  }
  const own = env.SPFT_CUDA_PATH ? within(foldersBelow(env.SPFT_CUDA_PATH)) : [];
  if (library === 'driver') return own.length > 0 ? own : [...files, ...within(DRIVER_FOLDERS)];
  if (env.SPFT_CUDA_PATH) return own;
  const toolkit = within(toolkits().flatMap(foldersBelow));
  return [...files, ...toolkit, ...within(sitePackages().flatMap(foldersBelow))];
}
