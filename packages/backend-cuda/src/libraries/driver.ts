/** @file The functions of the CUDA driver API that are used, with its types: handles and addresses are uint64_t. */
import { bind, type NativeFunction } from './native.js';

const SIGNATURES = {
  cuInit: 'uint32_t flags',
  cuDriverGetVersion: 'uint64_t version',
  cuDeviceGetCount: 'uint64_t count',
  cuDeviceGet: 'uint64_t device, int ordinal',
  cuDeviceGetName: 'void* name, int length, int device',
  cuDeviceGetAttribute: 'uint64_t value, int attribute, int device',
  cuDeviceGetPCIBusId: 'void* name, int length, int device',
  cuDeviceTotalMem_v2: 'uint64_t bytes, int device',
  cuDevicePrimaryCtxRetain: 'uint64_t context, int device',
  cuDevicePrimaryCtxRelease_v2: 'int device',
  cuDevicePrimaryCtxReset_v2: 'int device',
  cuCtxSetCurrent: 'uint64_t context',
  cuStreamCreate: 'uint64_t stream, uint32_t flags',
  cuStreamCreateWithPriority: 'uint64_t stream, uint32_t flags, int priority',
  cuStreamDestroy_v2: 'uint64_t stream',
  cuStreamWaitEvent: 'uint64_t stream, uint64_t event, uint32_t flags',
  cuStreamBeginCapture_v2: 'uint64_t stream, int mode',
  cuStreamEndCapture: 'uint64_t stream, uint64_t graph',
  cuGraphInstantiateWithFlags: 'uint64_t executable, uint64_t graph, uint64_t flags',
  cuGraphDestroy: 'uint64_t graph',
  cuGraphGetNodes: 'uint64_t graph, uint64_t nodes, uint64_t count',
  cuGraphNodeGetType: 'uint64_t node, uint64_t type',
  cuGraphMemsetNodeGetParams: 'uint64_t node, uint64_t parameters',
  cuGraphNodeGetDependencies: 'uint64_t node, uint64_t nodes, uint64_t count',
  cuGraphNodeGetDependentNodes: 'uint64_t node, uint64_t nodes, uint64_t count',
  cuGraphAddDependencies: 'uint64_t graph, uint64_t from, uint64_t to, size_t count',
  cuGraphDestroyNode: 'uint64_t node',
  cuGraphLaunch: 'uint64_t executable, uint64_t stream',
  cuGraphExecDestroy: 'uint64_t executable',
  cuStreamSynchronize: 'uint64_t stream',
  cuEventCreate: 'uint64_t event, uint32_t flags',
  cuEventDestroy_v2: 'uint64_t event',
  cuEventRecord: 'uint64_t event, uint64_t stream',
  cuEventSynchronize: 'uint64_t event',
  cuEventQuery: 'uint64_t event',
  cuEventElapsedTime: 'uint64_t milliseconds, uint64_t start, uint64_t end',
  cuDeviceGetDefaultMemPool: 'uint64_t pool, int device',
  cuMemPoolSetAttribute: 'uint64_t pool, int attribute, uint64_t value',
  cuMemPoolGetAttribute: 'uint64_t pool, int attribute, uint64_t value',
  cuMemPoolTrimTo: 'uint64_t pool, size_t keep',
  cuMemAllocAsync: 'uint64_t address, size_t bytes, uint64_t stream',
  cuMemFreeAsync: 'uint64_t address, uint64_t stream',
  cuMemGetInfo_v2: 'uint64_t free, uint64_t total',
  cuMemHostAlloc: 'uint64_t address, size_t bytes, uint32_t flags',
  cuMemcpyHtoDAsync_v2: 'uint64_t to, uint64_t from, size_t bytes, uint64_t stream',
  cuMemcpyDtoHAsync_v2: 'uint64_t to, uint64_t from, size_t bytes, uint64_t stream',
  cuMemcpyDtoDAsync_v2: 'uint64_t to, uint64_t from, size_t bytes, uint64_t stream',
  cuMemsetD8Async: 'uint64_t to, uint8_t value, size_t count, uint64_t stream',
  cuMemsetD32Async: 'uint64_t to, uint32_t value, size_t count, uint64_t stream',
  cuModuleLoadData: 'uint64_t module, const void* image',
  cuModuleGetFunction: 'uint64_t function, uint64_t module, const char* name',
  cuFuncSetAttribute: 'uint64_t function, int attribute, int value',
  cuLaunchKernel:
    'uint64_t function, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t bx, uint32_t by, uint32_t bz, uint32_t shared, uint64_t stream, ' +
    'uint64_t parameters, uint64_t extra',
  cuLaunchKernelEx: 'uint64_t config, uint64_t function, uint64_t parameters, uint64_t extra',
} as const;

export type DriverFunctions = Record<keyof typeof SIGNATURES, NativeFunction>;

/** @throws Error of the dynamic loader, or one that names the function that the driver lacks. */
export const bindDriver = (path: string): DriverFunctions => bind(path, SIGNATURES);

/** Values of CUresult that are acted upon. */
export const CUDA_ERROR_OUT_OF_MEMORY = 2;
export const CUDA_ERROR_NOT_READY = 600;

/** Names of the errors that a user may meet; others are shown by number. */
export const CUDA_ERRORS: Readonly<Record<number, string>> = {
  1: 'CUDA_ERROR_INVALID_VALUE',
  2: 'CUDA_ERROR_OUT_OF_MEMORY',
  3: 'CUDA_ERROR_NOT_INITIALIZED',
  4: 'CUDA_ERROR_DEINITIALIZED',
  34: 'CUDA_ERROR_STUB_LIBRARY',
  35: 'CUDA_ERROR_INSUFFICIENT_DRIVER',
  46: 'CUDA_ERROR_DEVICE_UNAVAILABLE',
  100: 'CUDA_ERROR_NO_DEVICE',
  101: 'CUDA_ERROR_INVALID_DEVICE',
  200: 'CUDA_ERROR_INVALID_IMAGE',
  201: 'CUDA_ERROR_INVALID_CONTEXT',
  209: 'CUDA_ERROR_NO_BINARY_FOR_GPU',
  218: 'CUDA_ERROR_INVALID_PTX',
  222: 'CUDA_ERROR_UNSUPPORTED_PTX_VERSION',
  300: 'CUDA_ERROR_INVALID_SOURCE',
  400: 'CUDA_ERROR_INVALID_HANDLE',
  500: 'CUDA_ERROR_NOT_FOUND',
  600: 'CUDA_ERROR_NOT_READY',
  700: 'CUDA_ERROR_ILLEGAL_ADDRESS',
  701: 'CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES',
  702: 'CUDA_ERROR_LAUNCH_TIMEOUT',
  710: 'CUDA_ERROR_ASSERT',
  714: 'CUDA_ERROR_HARDWARE_STACK_ERROR',
  715: 'CUDA_ERROR_ILLEGAL_INSTRUCTION',
  716: 'CUDA_ERROR_MISALIGNED_ADDRESS',
  717: 'CUDA_ERROR_INVALID_ADDRESS_SPACE',
  718: 'CUDA_ERROR_INVALID_PC',
  719: 'CUDA_ERROR_LAUNCH_FAILED',
  801: 'CUDA_ERROR_NOT_SUPPORTED',
  900: 'CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED',
  901: 'CUDA_ERROR_STREAM_CAPTURE_INVALIDATED',
  904: 'CUDA_ERROR_STREAM_CAPTURE_UNJOINED',
  905: 'CUDA_ERROR_STREAM_CAPTURE_ISOLATION',
  907: 'CUDA_ERROR_CAPTURED_EVENT',
  999: 'CUDA_ERROR_UNKNOWN',
};

/** Whether after this result every call of the process fails: a kernel failed (all of 700 to 719 but a launch that was refused). */
export const isContextLost = (status: number): boolean => status >= 700 && status < 720 && status !== 701;

/** Results that say that an image is not one, or is for another GPU. */
export const REFUSED_IMAGE: ReadonlySet<number> = new Set([200, 209, 218, 221, 222, 300]);

/** Values of CUdevice_attribute. */
export const DEVICE_ATTRIBUTE = {
  multiprocessors: 16,
  capabilityMajor: 75,
  capabilityMinor: 76,
  sharedBytes: 97,
  memoryPools: 115,
} as const;

/** Values of CUmemPool_attribute. */
export const POOL_ATTRIBUTE = { releaseThreshold: 4, reserved: 5, reservedPeak: 6, used: 7, usedPeak: 8 } as const;

/** CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION. */
export const BEGINS_EARLY = 6;

/** CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES. */
export const MAX_DYNAMIC_SHARED = 8;
