/**
 * @file Where a BLAS may be found, best first: the names by which systems' loaders know it, and places that they do not search.
 *
 * Not among them is the bare `libblas`: it may be the reference implementation, which multiplies at 2 GFLOP/s, slower than wasm.
 */

/** Which library it is, as far as its file name says. */
export type Vendor = 'OpenBLAS' | 'MKL' | 'BLIS' | 'Accelerate' | 'BLAS';

const LINUX = [
  'libopenblas.so.0',
  'libopenblas.so',
  'libopenblasp.so.0',
  'libmkl_rt.so.2',
  'libmkl_rt.so.1',
  'libmkl_rt.so',
  'libblis-mt.so.4',
  'libblis.so.4',
  'libblis-mt.so',
  'libblis.so',
  '/opt/intel/oneapi/mkl/latest/lib/libmkl_rt.so.2',
  '/opt/intel/oneapi/mkl/latest/lib/intel64/libmkl_rt.so.2',
  'libopenblas64.so.0',
];

const MACOS = [
  '/System/Library/Frameworks/Accelerate.framework/Accelerate',
  '/opt/homebrew/opt/openblas/lib/libopenblas.dylib',
  '/usr/local/opt/openblas/lib/libopenblas.dylib',
  'libopenblas.dylib',
  'libblis.dylib',
];

const WINDOWS = ['libopenblas.dll', 'openblas.dll', 'mkl_rt.2.dll', 'mkl_rt.dll', 'libblis.dll'];

/** Names and paths to try, in this order. */
export function candidates(platform: NodeJS.Platform = process.platform): readonly string[] {
  if (platform === 'darwin') return MACOS;
  return platform === 'win32' ? WINDOWS : LINUX;
}

export function vendorOf(path: string): Vendor {
  const name = path.toLowerCase();
  if (name.includes('openblas')) return 'OpenBLAS';
  if (name.includes('mkl')) return 'MKL';
  if (name.includes('blis')) return 'BLIS';
  return name.includes('accelerate') ? 'Accelerate' : 'BLAS';
}

/** How to get one on this system. */
export function installHint(platform: NodeJS.Platform = process.platform): string {
  switch (platform) {
    case 'darwin':
      return 'brew install openblas, or set SPFT_BLAS to the path of a BLAS with a C interface';
    case 'win32':
      return 'put libopenblas.dll (from the releases of OpenBLAS) on the PATH, or set SPFT_BLAS to its path';
    default:
      return 'apt-get install libopenblas0-pthread (Debian, Ubuntu), dnf install openblas (Fedora), or set SPFT_BLAS to the path of a BLAS with a C interface';
  }
}
