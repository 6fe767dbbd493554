// Modules: images that compiler.cpp made, loaded as shared objects; their functions, and the checks of a launch.
#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <vector>

#include "driver.hpp"

namespace {

struct Function {
  const SpftModule* module;
  const SpftKernel* kernel;
  int most_dynamic_shared;
};
struct Module {
  void* library;
  const SpftModule* contents;
  std::map<std::string, std::unique_ptr<Function>> functions;
};

std::mutex mutex;
std::set<uint64_t> modules, functions;

const unsigned SHARED_WITHOUT_ASKING = 48 << 10;

bool is_function(uint64_t function) {
  std::lock_guard<std::mutex> lock(mutex);
  return functions.count(function) != 0;
}

// Without padding between the variables this is exact for a module of one kernel.
unsigned static_shared(const SpftModule& module) {
  return (unsigned)(module.static_shared_end - module.static_shared) - SPFT_SHARED_ANCHOR_BYTES;
}

// Loads the image from a file of its own, as the dynamic loader would hand out the same object twice for the same file.
void* load(const void* image, size_t bytes) {
  const char* folder = getenv("TMPDIR");
  std::string path = std::string(folder && *folder ? folder : "/tmp") + "/spft-emulated-XXXXXX";
  const int file = mkstemp(path.data());
  if (file < 0) return nullptr;
  size_t written = 0;
  while (written < bytes) {
    const ssize_t now = write(file, (const char*)image + written, bytes - written);
    if (now <= 0) break;
    written += (size_t)now;
  }
  close(file);
  void* library = written == bytes ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (!library) emulator::complain("cuModuleLoadData: %s", written == bytes ? dlerror() : "cannot write a temporary file");
  unlink(path.c_str());
  return library;
}

}  // namespace

using namespace emulator;

EXPORT int cuModuleLoadData(uint64_t* handle, const void* image) {
  ENTER(cuModuleLoadData);
  if (!handle || !image) return INVALID_VALUE;
  const Elf64_Ehdr* header = (const Elf64_Ehdr*)image;
  if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return INVALID_IMAGE;
  if (header->e_machine == 190) return NO_BINARY_FOR_GPU;  // of a real GPU
  // The section headers come last in what g++ links.
  void* library = load(image, header->e_shoff + (size_t)header->e_shnum * header->e_shentsize);
  if (!library) return INVALID_IMAGE;
  const SpftModule* contents = (const SpftModule*)dlsym(library, "spft_module");
  if (!contents || contents->version != SPFT_INTERFACE_VERSION) {
    dlclose(library);
    return INVALID_IMAGE;
  }
  if (contents->architecture / 10 != capability() / 10 || contents->architecture > capability()) {
    complain("cuModuleLoadData: the image is for sm_%d, the device is an sm_%d", contents->architecture, capability());
    dlclose(library);
    return NO_BINARY_FOR_GPU;
  }
  std::lock_guard<std::mutex> lock(mutex);
  *handle = (uint64_t) new Module{library, contents, {}};
  modules.insert(*handle);
  return SUCCESS;
}
EXPORT int cuModuleLoadDataEx(uint64_t* handle, const void* image, unsigned, void*, void*) { return cuModuleLoadData(handle, image); }

EXPORT int cuModuleUnload(uint64_t handle) {
  ENTER_WAITING(cuModuleUnload);
  std::lock_guard<std::mutex> lock(mutex);
  if (modules.erase(handle) == 0) return INVALID_HANDLE;
  Module* module = (Module*)handle;
  for (const auto& entry : module->functions) functions.erase((uint64_t)entry.second.get());
  dlclose(module->library);
  delete module;
  return SUCCESS;
}

EXPORT int cuModuleGetFunction(uint64_t* handle, uint64_t of_module, const char* name) {
  ENTER(cuModuleGetFunction);
  std::lock_guard<std::mutex> lock(mutex);
  if (modules.count(of_module) == 0) return INVALID_HANDLE;
  if (!handle || !name) return INVALID_VALUE;
  Module& module = *(Module*)of_module;
  for (int i = 0; i < module.contents->kernel_count; i++) {
    const SpftKernel& kernel = module.contents->kernels[i];
    if (strcmp(kernel.name, name) != 0) continue;
    auto& function = module.functions[name];
    if (!function) function.reset(new Function{module.contents, &kernel, (int)SHARED_WITHOUT_ASKING});
    *handle = (uint64_t)function.get();
    functions.insert(*handle);
    return SUCCESS;
  }
  return NOT_FOUND;
}

EXPORT int cuFuncSetAttribute(uint64_t handle, int attribute, int value) {
  ENTER(cuFuncSetAttribute);
  if (!is_function(handle)) return INVALID_HANDLE;
  Function& function = *(Function*)handle;
  switch (attribute) {
    case 8:  // MAX_DYNAMIC_SHARED_SIZE_BYTES
      if (value < 0 || value + (function.module->kernel_count == 1 ? (int)static_shared(*function.module) : 0) > shared_memory_limit()) {
        complain("cuFuncSetAttribute: kernel %s asks for %d bytes of dynamic shared memory; at most %d are there", function.kernel->name, value,
                 shared_memory_limit());
        return INVALID_VALUE;
      }
      function.most_dynamic_shared = value;
      return SUCCESS;
    case 9: return value >= -1 && value <= 100 ? SUCCESS : INVALID_VALUE;  // PREFERRED_SHARED_MEMORY_CARVEOUT
    default: return INVALID_VALUE;
  }
}
EXPORT int cuFuncGetAttribute(int* value, int attribute, uint64_t handle) {
  ENTER(cuFuncGetAttribute);
  if (!is_function(handle)) return INVALID_HANDLE;
  const Function& function = *(Function*)handle;
  switch (attribute) {
    case 0: *value = function.kernel->most_threads ? function.kernel->most_threads : 1024; break;  // MAX_THREADS_PER_BLOCK
    case 1: *value = (int)static_shared(*function.module); break;                                  // SHARED_SIZE_BYTES
    case 4: *value = 64; break;                                                                    // NUM_REGS
    case 5: case 6: *value = function.module->architecture; break;                                 // PTX_VERSION, BINARY_VERSION
    case 8: *value = function.most_dynamic_shared; break;
    default: *value = 0; break;  // LOCAL_SIZE_BYTES among them
  }
  return SUCCESS;
}
EXPORT int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, uint64_t handle, int threads, size_t shared) {
  ENTER(cuOccupancyMaxActiveBlocksPerMultiprocessor);
  if (!is_function(handle)) return INVALID_HANDLE;
  if (threads < 1 || threads > 1024) return INVALID_VALUE;
  const size_t each = shared + static_shared(*((Function*)handle)->module) + 1024;
  const int by_threads = 2048 / ((threads + 31) / 32 * 32), by_shared = (int)((size_t)(shared_memory_limit() + 1024) / each);
  *blocks = std::min(32, std::min(by_threads, by_shared));
  return SUCCESS;
}

EXPORT int cuLaunchKernel(uint64_t handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                          unsigned shared, uint64_t stream, void** parameters, void** extra) {
  if (idle()) return SUCCESS;
  ENTER(cuLaunchKernel);
  if (!is_function(handle) || !is_stream(stream)) return INVALID_HANDLE;
  const Function& function = *(Function*)handle;
  const SpftKernel& kernel = *function.kernel;
  const auto refuse = [&](const char* why) {
    complain("cuLaunchKernel: %s: %s (grid %u x %u x %u, blocks of %u x %u x %u threads, %u bytes of shared memory)", kernel.name, why, grid_x, grid_y,
             grid_z, block_x, block_y, block_z, shared);
    return INVALID_VALUE;
  };
  if (grid_x == 0 || grid_y == 0 || grid_z == 0 || block_x == 0 || block_y == 0 || block_z == 0) return refuse("a size is zero");
  if (grid_x > 0x7fffffffu || grid_y > 65535 || grid_z > 65535) return refuse("the grid is too large");
  if (block_x > 1024 || block_y > 1024 || block_z > 64 || (uint64_t)block_x * block_y * block_z > 1024)
    return refuse("a block has more threads than a GPU allows");
  if (kernel.most_threads && block_x * block_y * block_z > (unsigned)kernel.most_threads)
    return refuse("a block has more threads than the kernel's __launch_bounds__");
  if (shared > (unsigned)function.most_dynamic_shared)
    return refuse("more dynamic shared memory than 48 KiB or what cuFuncSetAttribute(8) allowed");
  if (function.module->kernel_count == 1 && shared + static_shared(*function.module) > (unsigned)shared_memory_limit())
    return refuse("static and dynamic shared memory together are more than a block can have");
  const unsigned threads = block_x * block_y * block_z;
  if (grid_x % (unsigned)kernel.cluster) return refuse("the grid is not of whole clusters");
  if (kernel.cluster > 1 && (threads % 128 || threads * (unsigned)kernel.cluster > 1024 || kernel.cluster > 8 || static_shared(*function.module) > SPFT_SHARED_ANCHOR_BYTES))
    return refuse("only clusters of up to 1024 threads in whole warpgroups, without static shared memory, are emulated");
  if (extra) return refuse("parameters in `extra` are not emulated");
  if (kernel.parameters > 0 && !parameters) return refuse("no parameters");
  for (int i = 0; i < kernel.parameters; i++)
    if (!parameters[i]) return refuse("a parameter's address is null");
  // The driver copies the parameters in the call.
  std::vector<std::vector<char>> copies;
  for (int i = 0; i < kernel.parameters; i++) copies.emplace_back((char*)parameters[i], (char*)parameters[i] + kernel.parameter_bytes[i]);
  return submit(stream, [=, &kernel, module = function.module]() mutable {
    std::vector<void*> pointers;
    for (auto& copy : copies) pointers.push_back(copy.data());
    if (int status = usable()) return status;
    const int status = launch(*module, kernel, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, pointers.data());
    return status ? break_context(status) : SUCCESS;
  });
}

// As cuda.h has them.
struct LaunchAttribute {
  unsigned id;
  char pad[4];
  union {
    char bytes[64];
    int allowed;
  } value;
};
struct LaunchConfig {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared;
  uint64_t stream;
  const LaunchAttribute* attributes;
  unsigned attribute_count;
};

// Kernels run one after the other here, also those that may begin early (programmatic stream serialization, the one attribute that is known).
EXPORT int cuLaunchKernelEx(const LaunchConfig* config, uint64_t handle, void** parameters, void** extra) {
  ENTER(cuLaunchKernelEx);
  if (!config) return INVALID_VALUE;
  for (unsigned i = 0; i < config->attribute_count; i++) {
    const LaunchAttribute& attribute = config->attributes[i];
    if (attribute.id == 6 && (attribute.value.allowed == 0 || attribute.value.allowed == 1)) continue;
    complain("cuLaunchKernelEx: attribute %u is not emulated", attribute.id);
    return INVALID_VALUE;
  }
  return cuLaunchKernel(handle, config->grid_x, config->grid_y, config->grid_z, config->block_x, config->block_y, config->block_z, config->shared,
                        config->stream, parameters, extra);
}
