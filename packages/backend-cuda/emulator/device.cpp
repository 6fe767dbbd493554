// The device, its attributes, its context, and the names of errors.
#include <atomic>

#include "driver.hpp"

namespace {

std::atomic<bool> initialized{false};
std::atomic<int> broken{0};
std::atomic<int> retained{0};
int context_object;  // its address is the context
thread_local uint64_t current = 0;

// On an H200 no reset helps a process in which a kernel failed: even a fresh context gives the error, as the driver's documentation says.
// Alike, and each process has their memory for itself: for tests of several processes with a device each.
int devices() {
  const char* wanted = getenv("SPFT_EMULATOR_DEVICES");
  const int count = wanted ? atoi(wanted) : 1;
  return count < 1 ? 1 : count;
}

int used_device;  // the last whose context was retained

void heal() {
  if (getenv("SPFT_EMULATOR_HEALS")) broken = 0;
}

}  // namespace

namespace emulator {

int usable() {
  if (!initialized) return NOT_INITIALIZED;
  if (!current) return INVALID_CONTEXT;
  return broken;
}

int break_context(int status) {
  broken = status;
  return status;
}

int current_device() { return used_device; }

int capability() {
  const char* wanted = getenv("SPFT_EMULATOR_CAPABILITY");
  int major = 9, minor = 0;
  if (wanted) sscanf(wanted, "%d.%d", &major, &minor);
  return major * 10 + minor;
}

int shared_memory_limit() {
  switch (capability()) {
    case 70: return 96 << 10;
    case 75: return 64 << 10;
    case 80: case 87: return 163 << 10;
    case 86: case 89: case 120: case 121: return 99 << 10;
    default: return 227 << 10;
  }
}

}  // namespace emulator

using namespace emulator;

EXPORT int cuInit(unsigned) {
  ENTER_UNINITIALIZED(cuInit);
  initialized = true;
  return SUCCESS;
}
EXPORT int cuDriverGetVersion(int* version) {
  ENTER_UNINITIALIZED(cuDriverGetVersion);
  *version = 13000;
  return SUCCESS;
}

#define ENTER_DEVICE(name)                    \
  ENTER_UNINITIALIZED(name);                  \
  if (!initialized) return NOT_INITIALIZED;   \
  if (device < 0 || device >= devices()) return INVALID_DEVICE

EXPORT int cuDeviceGetCount(int* count) {
  ENTER_UNINITIALIZED(cuDeviceGetCount);
  if (!initialized) return NOT_INITIALIZED;
  *count = devices();
  return SUCCESS;
}
EXPORT int cuDeviceGet(int* handle, int device) {
  ENTER_DEVICE(cuDeviceGet);
  *handle = device;
  return SUCCESS;
}
EXPORT int cuDeviceGetName(char* name, int length, int device) {
  ENTER_DEVICE(cuDeviceGetName);
  snprintf(name, (size_t)length, "spft emulator");
  return SUCCESS;
}

EXPORT int cuDeviceGetPCIBusId(char* name, int length, int device) {
  ENTER_DEVICE(cuDeviceGetPCIBusId);
  snprintf(name, (size_t)length, "0000:%02X:00.0", device + 1);
  return SUCCESS;
}

EXPORT int cuDeviceGetAttribute(int* value, int attribute, int device) {
  ENTER_DEVICE(cuDeviceGetAttribute);
  switch (attribute) {
    case 1: *value = 1024; break;                  // MAX_THREADS_PER_BLOCK
    case 2: case 3: *value = 1024; break;          // MAX_BLOCK_DIM_X, _Y
    case 4: *value = 64; break;                    // MAX_BLOCK_DIM_Z
    case 5: *value = 2147483647; break;            // MAX_GRID_DIM_X
    case 6: case 7: *value = 65535; break;         // MAX_GRID_DIM_Y, _Z
    case 8: *value = 48 << 10; break;              // MAX_SHARED_MEMORY_PER_BLOCK
    case 9: *value = 64 << 10; break;              // TOTAL_CONSTANT_MEMORY
    case 10: *value = 32; break;                   // WARP_SIZE
    case 12: case 82: *value = 65536; break;       // MAX_REGISTERS_PER_BLOCK, _PER_MULTIPROCESSOR
    case 13: *value = 1980000; break;              // CLOCK_RATE, kHz
    case 14: *value = 512; break;                  // TEXTURE_ALIGNMENT
    case 16: *value = 132; break;                  // MULTIPROCESSOR_COUNT
    case 18: *value = 0; break;                    // INTEGRATED
    case 31: case 19: case 41: *value = 1; break;  // CONCURRENT_KERNELS, CAN_MAP_HOST_MEMORY, UNIFIED_ADDRESSING
    case 36: *value = 2619000; break;              // MEMORY_CLOCK_RATE, kHz
    case 37: *value = 5120; break;                 // GLOBAL_MEMORY_BUS_WIDTH
    case 38: *value = 50 << 20; break;             // L2_CACHE_SIZE
    case 39: *value = 2048; break;                 // MAX_THREADS_PER_MULTIPROCESSOR
    case 40: *value = 3; break;                    // ASYNC_ENGINE_COUNT
    case 75: *value = capability() / 10; break;    // COMPUTE_CAPABILITY_MAJOR
    case 76: *value = capability() % 10; break;    // COMPUTE_CAPABILITY_MINOR
    case 81: *value = shared_memory_limit() + 1024; break;  // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
    case 97: *value = shared_memory_limit(); break;         // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    case 106: *value = 32; break;                           // MAX_BLOCKS_PER_MULTIPROCESSOR
    case 111: *value = 1024; break;                         // RESERVED_SHARED_MEMORY_PER_BLOCK
    case 115: *value = 1; break;                            // MEMORY_POOLS_SUPPORTED
    default: *value = 0; break;
  }
  return SUCCESS;
}

EXPORT int cuDevicePrimaryCtxRetain(uint64_t* context, int device) {
  ENTER_DEVICE(cuDevicePrimaryCtxRetain);
  if (broken) return broken;
  retained++;
  used_device = device;
  *context = (uint64_t)&context_object;
  return SUCCESS;
}
EXPORT int cuDevicePrimaryCtxReset_v2(int device) {
  ENTER_DEVICE(cuDevicePrimaryCtxReset_v2);
  forget_work();
  release_memory();
  forget_graphs();
  heal();
  return SUCCESS;
}
EXPORT int cuDevicePrimaryCtxReset(int device) { return cuDevicePrimaryCtxReset_v2(device); }
EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  ENTER_DEVICE(cuDevicePrimaryCtxRelease_v2);
  if (retained == 0) return INVALID_CONTEXT;
  if (--retained == 0) {
    forget_work();
    release_memory();
    forget_graphs();
    heal();
  }
  return SUCCESS;
}
EXPORT int cuDevicePrimaryCtxRelease(int device) { return cuDevicePrimaryCtxRelease_v2(device); }

// As the real one, the context is current to one thread of the host.
EXPORT int cuCtxSetCurrent(uint64_t context) {
  ENTER_UNINITIALIZED(cuCtxSetCurrent);
  if (!initialized) return NOT_INITIALIZED;
  if (context != 0 && (context != (uint64_t)&context_object || retained == 0)) return INVALID_CONTEXT;
  current = context;
  return SUCCESS;
}
EXPORT int cuCtxGetCurrent(uint64_t* context) {
  ENTER_UNINITIALIZED(cuCtxGetCurrent);
  if (!initialized) return NOT_INITIALIZED;
  *context = current;
  return SUCCESS;
}

namespace {

struct Error {
  int status;
  const char* name;
  const char* meaning;
};
const Error errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {35, "CUDA_ERROR_INSUFFICIENT_DRIVER", "CUDA driver version is insufficient for CUDA runtime version"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {ASSERT, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
    {714, "CUDA_ERROR_HARDWARE_STACK_ERROR", "hardware stack error"},
    {715, "CUDA_ERROR_ILLEGAL_INSTRUCTION", "an illegal instruction was encountered"},
    {MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {717, "CUDA_ERROR_INVALID_ADDRESS_SPACE", "operation not supported on global/shared address space"},
    {718, "CUDA_ERROR_INVALID_PC", "invalid program counter"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

}  // namespace

EXPORT int cuGetErrorName(int status, const char** name) {
  *name = nullptr;
  for (const Error& error : errors)
    if (error.status == status) *name = error.name;
  return *name ? SUCCESS : INVALID_VALUE;
}
EXPORT int cuGetErrorString(int status, const char** meaning) {
  *meaning = nullptr;
  for (const Error& error : errors)
    if (error.status == status) *meaning = error.meaning;
  return *meaning ? SUCCESS : INVALID_VALUE;
}
