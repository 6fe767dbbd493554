/**
 * @file Whether this machine can run the backend, what it would use, and what would help where it cannot: for `spft doctor` and for choosing a
 * backend. Loads the libraries but makes no context and takes no memory on the GPU.
 */
import { Device, type DeviceInfo, loadFrom } from './device/device.js';
import { cublasLtVersion } from './libraries/cublaslt.js';
import { loadedFrom } from './libraries/native.js';
import { bindNccl } from './libraries/nccl.js';
import { Nvrtc } from './libraries/nvrtc.js';
import { ordinalOf, weightTypeOf } from './settings.js';

/** A library that was found. */
export interface FoundLibrary {
  readonly path: string;
  readonly version: string;
}

/** Something that is missing, and what would help. */
export interface CudaProblem {
  readonly reason: string;
  readonly hint: string;
}

export interface CudaProbe {
  readonly available: boolean;
  /** The GPU that would be used, by `SPFT_CUDA_DEVICE`. */
  readonly device: DeviceInfo | null;
  readonly driver: FoundLibrary | null;
  readonly nvrtc: FoundLibrary | null;
  readonly cublasLt: FoundLibrary | null;
  /** What connects several GPUs; one alone needs none. */
  readonly nccl: FoundLibrary | null;
  /** Why there is none that can be used; null where there is. */
  readonly ncclProblem: string | null;
  /** None where it is available. */
  readonly problems: readonly CudaProblem[];
}

/** What `SPFT_CUDA_PATH` must hold, for messages. */
const PATH_HINT =
  'SPFT_CUDA_PATH must be a folder with libnvrtc.so.12 and libcublasLt.so.12 (or .13) in it: a CUDA toolkit, its lib64, or a site-packages with the wheels';

/** Looks at this machine. Never throws. */
export function probeCuda(): CudaProbe {
  const problems: CudaProblem[] = [];
  const attempt = <T>(look: () => T, hint: string): T | null => {
    try {
      return look();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      problems.push({ reason, hint: (error as { hint?: string }).hint ?? hint });
      return null;
    }
  };
  attempt(() => weightTypeOf(), 'unset it, or set it to one of these');
  const ordinal = attempt(() => ordinalOf(), 'unset it for the first GPU');
  const found = attempt(
    () => new Device(ordinal ?? 0),
    "install NVIDIA's driver for this GPU; nvidia-smi must list it",
  );
  const driverVersion = found?.info.driver ?? null;
  const major = driverVersion === null ? null : Number.parseInt(driverVersion, 10);
  // Where there is no GPU, wheels of version 12 are what most drivers take.
  const wheels = `pip install nvidia-cuda-nvrtc${major !== null && major >= 13 ? '' : '-cu12'} nvidia-cublas${major !== null && major >= 13 ? '' : '-cu12'}`;
  const hint = process.env.SPFT_CUDA_PATH ? PATH_HINT : `${wheels}, or install the CUDA toolkit; ${PATH_HINT}`;
  const nvrtc = attempt(() => {
    const { loaded, path } = loadFrom('nvrtc', (path) => new Nvrtc(path, found?.info), 'NVRTC was not found');
    return { path: loadedFrom(path), version: loaded.version };
  }, hint);
  const cublasLt = attempt(() => {
    const { loaded, path } = loadFrom(
      'cublasLt',
      (path) => cublasLtVersion(path, found?.info),
      'cuBLASLt was not found',
    );
    return { path: loadedFrom(path), version: loaded };
  }, hint);
  const nccl = findNccl();
  return {
    available: problems.length === 0,
    device: found?.info ?? null,
    driver: found && { path: loadedFrom(found.driverPath), version: found.info.driver },
    nvrtc,
    cublasLt,
    ...nccl,
    problems,
  };
}

function findNccl(): Pick<CudaProbe, 'nccl' | 'ncclProblem'> {
  try {
    const { path, version } = loadFrom('nccl', bindNccl, 'NCCL (libnccl.so.2) was not found').loaded;
    return { nccl: { path, version }, ncclProblem: null };
  } catch (error) {
    return { nccl: null, ncclProblem: (error as Error).message };
  }
}

/** One line: the GPU, or all that is missing. */
export function describeProbe({ device, driver, nvrtc, cublasLt, nccl, ncclProblem }: CudaProbe): string {
  if (device === null) return 'no GPU';
  const { name, capability, totalBytes } = device;
  const libraries = [
    driver && `driver for CUDA ${driver.version} (${driver.path})`,
    nvrtc && `NVRTC ${nvrtc.version} (${nvrtc.path})`,
    cublasLt && `cuBLASLt ${cublasLt.version} (${cublasLt.path})`,
    nccl ? `NCCL ${nccl.version} (${nccl.path})` : `no NCCL for several GPUs (${ncclProblem})`,
  ].filter(Boolean);
  return [
    `${name}, compute capability ${capability.join('.')}, ${(totalBytes / 2 ** 30).toFixed(1)} GiB`,
    ...libraries,
  ].join(', ');
}
