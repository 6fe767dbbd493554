// Memory of the device: the host's, counted against SPFT_EMULATOR_MEMORY, poisoned, with a look-out for writes past an end.
#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <vector>

#include "driver.hpp"

namespace {

const unsigned char POISON = 0xff;   // a NaN in every format, -1 in integers
const unsigned char CANARY = 0xa5;
const size_t CANARY_BYTES = 64;
const size_t ALIGNMENT = 256;        // what the real allocator gives
const size_t CONTEXT_BYTES = 0;      // what a context holds for itself
const size_t POOL_STEP = 2 << 20;    // the pool takes memory from the device in such pieces

struct Allocation {
  size_t bytes;
  bool of_pool;
  void* base;
  size_t mapped;  // bytes of a guarded allocation's mapping, or 0
};

std::mutex mutex;
std::map<uint64_t, Allocation> allocations;
// Guarded allocations that were freed stay forbidden for a while, so that late uses fault.
std::deque<Allocation> quarantine;
std::map<uint64_t, size_t> pinned;

struct Pool {
  uint64_t threshold = 0, used = 0, used_peak = 0, reserved = 0, reserved_peak = 0;
} pool;
uint64_t used_outside = 0;

uint64_t rounded(uint64_t bytes, uint64_t step) { return (bytes + step - 1) / step * step; }
uint64_t total_memory() {
  const char* wanted = getenv("SPFT_EMULATOR_MEMORY");
  return wanted && *wanted ? strtoull(wanted, nullptr, 10) : 4ull << 30;
}
uint64_t charged(size_t bytes) { return rounded(bytes, 512); }

// Shrinks what the pool holds to what is in use, but not below `keep`.
void trim(uint64_t keep) {
  const uint64_t least = rounded(pool.used, POOL_STEP);
  if (pool.reserved > least) pool.reserved = std::max(least, std::min(keep, pool.reserved));
}

int allocate(uint64_t* address, size_t bytes, bool of_pool) {
  if (!address || bytes == 0) return INVALID_VALUE;
  std::lock_guard<std::mutex> lock(mutex);
  const uint64_t total = total_memory();
  if (of_pool) {
    const uint64_t reserve = std::max(pool.reserved, rounded(pool.used + charged(bytes), POOL_STEP));
    if (CONTEXT_BYTES + used_outside + reserve > total) {
      // The last piece may be smaller than the others.
      if (CONTEXT_BYTES + used_outside + pool.used + charged(bytes) > total) return OUT_OF_MEMORY;
      pool.reserved = total - CONTEXT_BYTES - used_outside;
    } else {
      pool.reserved = reserve;
    }
    pool.used += charged(bytes);
    pool.used_peak = std::max(pool.used_peak, pool.used);
    pool.reserved_peak = std::max(pool.reserved_peak, pool.reserved);
  } else {
    if (CONTEXT_BYTES + used_outside + pool.reserved + charged(bytes) > total) trim(0);
    if (CONTEXT_BYTES + used_outside + pool.reserved + charged(bytes) > total) return OUT_OF_MEMORY;
    used_outside += charged(bytes);
  }

  Allocation allocation{bytes, of_pool, nullptr, 0};
  if (emulator::flag("SPFT_EMULATOR_GUARD")) {
    // The end lies at a page that may not be touched; 16 is the widest load.
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), held = rounded(bytes, 16), body = rounded(held, page);
    allocation.mapped = body + 2 * page;
    allocation.base = mmap(nullptr, allocation.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (allocation.base == MAP_FAILED) return OUT_OF_MEMORY;
    char* start = (char*)allocation.base + page;
    mprotect(start, body, PROT_READ | PROT_WRITE);
    *address = (uint64_t)(start + body - held);
    memset(start, POISON, body);
  } else {
    if (posix_memalign(&allocation.base, ALIGNMENT, rounded(bytes, ALIGNMENT) + CANARY_BYTES) != 0) return OUT_OF_MEMORY;
    *address = (uint64_t)allocation.base;
    memset(allocation.base, POISON, bytes);
    memset((char*)allocation.base + bytes, CANARY, CANARY_BYTES);
  }
  allocations[*address] = allocation;
  return SUCCESS;
}

// What the pool gives where nothing is computed (SPFT_EMULATOR_IDLE): zeros that nobody writes, each size from what was given back of it, so that the
// driver's part of an allocation is as small as a real pool's. The 256 bytes before it say how many there are.
std::map<size_t, std::vector<uint64_t>> spare;

int take_idle(uint64_t* address, size_t bytes) {
  if (!address || bytes == 0) return INVALID_VALUE;
  const size_t size = rounded(bytes, 512);
  auto& given_back = spare[size];
  if (!given_back.empty()) {
    *address = given_back.back();
    given_back.pop_back();
    return SUCCESS;
  }
  void* base = mmap(nullptr, ALIGNMENT + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return OUT_OF_MEMORY;
  *(size_t*)base = size;
  *address = (uint64_t)base + ALIGNMENT;
  return SUCCESS;
}

int give_back_idle(uint64_t address) {
  if (address) spare[*(size_t*)(address - ALIGNMENT)].push_back(address);
  return SUCCESS;
}

bool overrun(const Allocation& allocation) {
  if (allocation.mapped) return false;
  const unsigned char* end = (const unsigned char*)allocation.base + allocation.bytes;
  for (size_t i = 0; i < CANARY_BYTES; i++)
    if (end[i] != CANARY) return true;
  return false;
}

void give_back(const Allocation& allocation) {
  if (!allocation.mapped) {
    memset(allocation.base, POISON, allocation.bytes);
    free(allocation.base);
    return;
  }
  mmap(allocation.base, allocation.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  quarantine.push_back(allocation);
  if (quarantine.size() > 4096) {
    munmap(quarantine.front().base, quarantine.front().mapped);
    quarantine.pop_front();
  }
}

int release(uint64_t address) {
  if (address == 0) return SUCCESS;
  std::lock_guard<std::mutex> lock(mutex);
  const auto at = allocations.find(address);
  if (at == allocations.end()) {
    emulator::complain("free of 0x%llx, which is not allocated", (unsigned long long)address);
    return INVALID_VALUE;
  }
  const Allocation allocation = at->second;
  allocations.erase(at);
  (allocation.of_pool ? pool.used : used_outside) -= charged(allocation.bytes);
  const bool written_past = overrun(allocation);
  give_back(allocation);
  if (!written_past) return SUCCESS;
  emulator::complain("something wrote past the end of an allocation of %zu bytes at 0x%llx", allocation.bytes, (unsigned long long)address);
  return emulator::break_context(ILLEGAL_ADDRESS);
}

bool is_allocation(uint64_t address) {
  std::lock_guard<std::mutex> lock(mutex);
  return allocations.count(address) != 0;
}

int pool_object;  // its address is the pool

}  // namespace

namespace emulator {

bool is_device_memory(uint64_t address, size_t bytes) {
  if (idle()) return true;
  std::lock_guard<std::mutex> lock(mutex);
  auto at = allocations.upper_bound(address);
  if (at == allocations.begin()) return false;
  --at;
  return address - at->first <= at->second.bytes && bytes <= at->second.bytes - (address - at->first);
}

bool is_pinned_memory(uint64_t address, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  auto at = pinned.upper_bound(address);
  if (at == pinned.begin()) return false;
  --at;
  return address - at->first + bytes <= at->second;
}

int check_overruns() {
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [address, allocation] : allocations)
    if (overrun(allocation)) {
      complain("something wrote past the end of an allocation of %zu bytes at 0x%llx", allocation.bytes, (unsigned long long)address);
      return break_context(ILLEGAL_ADDRESS);
    }
  return SUCCESS;
}

void release_memory() {
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto& entry : allocations) give_back(entry.second);
  allocations.clear();
  const uint64_t threshold = pool.threshold;
  pool = Pool();
  pool.threshold = threshold;
  used_outside = 0;
}

void trim_pool() {
  std::lock_guard<std::mutex> lock(mutex);
  trim(pool.threshold);
}

}  // namespace emulator

using namespace emulator;

EXPORT int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  ENTER(cuMemAlloc_v2);
  return allocate(address, bytes, false);
}
EXPORT int cuMemFree_v2(uint64_t address) {
  ENTER_WAITING(cuMemFree_v2);
  return release(address);
}
EXPORT int cuMemAllocAsync(uint64_t* address, size_t bytes, uint64_t stream) {
  if (idle()) return take_idle(address, bytes);
  ENTER(cuMemAllocAsync);
  if (!is_stream(stream)) return INVALID_HANDLE;
  if (is_captured(stream)) return refuse_in_capture(stream, "cuMemAllocAsync", "allocations as nodes of a graph are not emulated");
  if (allocate(address, bytes, true) == SUCCESS) return SUCCESS;
  // What is still to be freed may make room.
  finish_work();
  return allocate(address, bytes, true);
}
EXPORT int cuMemFreeAsync(uint64_t address, uint64_t stream) {
  if (idle()) return give_back_idle(address);
  ENTER(cuMemFreeAsync);
  if (!is_stream(stream)) return INVALID_HANDLE;
  if (address != 0 && !is_allocation(address)) return release(address);
  if (is_captured(stream)) return refuse_in_capture(stream, "cuMemFreeAsync", "frees what the graph did not allocate");
  return submit(stream, [=] { return release(address); });
}
EXPORT int cuMemGetInfo_v2(size_t* available, size_t* total) {
  ENTER(cuMemGetInfo_v2);
  std::lock_guard<std::mutex> lock(mutex);
  *total = total_memory();
  const char* others = getenv("SPFT_EMULATOR_OTHERS");
  const uint64_t held = CONTEXT_BYTES + used_outside + pool.reserved + (others ? strtoull(others, nullptr, 10) : 0);
  *available = held > *total ? 0 : *total - held;
  return SUCCESS;
}
EXPORT int cuDeviceTotalMem_v2(size_t* bytes, int device) {
  ENTER_UNINITIALIZED(cuDeviceTotalMem_v2);
  if (device < 0) return INVALID_DEVICE;
  *bytes = total_memory();
  return SUCCESS;
}

EXPORT int cuDeviceGetDefaultMemPool(uint64_t* handle, int device) {
  ENTER_UNINITIALIZED(cuDeviceGetDefaultMemPool);
  if (device < 0) return INVALID_DEVICE;
  *handle = (uint64_t)&pool_object;
  return SUCCESS;
}
EXPORT int cuMemPoolSetAttribute(uint64_t handle, int attribute, void* value) {
  ENTER_UNINITIALIZED(cuMemPoolSetAttribute);
  if (handle != (uint64_t)&pool_object) return INVALID_HANDLE;
  std::lock_guard<std::mutex> lock(mutex);
  switch (attribute) {
    case 1: case 2: case 3: return SUCCESS;  // which allocations may be reused by which streams
    case 4: pool.threshold = *(uint64_t*)value; return SUCCESS;
    case 6: case 8:  // peaks can only be reset
      if (*(uint64_t*)value != 0) return INVALID_VALUE;
      if (attribute == 6) pool.reserved_peak = pool.reserved;
      else pool.used_peak = pool.used;
      return SUCCESS;
    default: return INVALID_VALUE;
  }
}
EXPORT int cuMemPoolGetAttribute(uint64_t handle, int attribute, void* value) {
  ENTER_UNINITIALIZED(cuMemPoolGetAttribute);
  if (handle != (uint64_t)&pool_object) return INVALID_HANDLE;
  std::lock_guard<std::mutex> lock(mutex);
  switch (attribute) {
    case 1: case 2: case 3: *(int*)value = 1; return SUCCESS;
    case 4: *(uint64_t*)value = pool.threshold; return SUCCESS;
    case 5: *(uint64_t*)value = pool.reserved; return SUCCESS;
    case 6: *(uint64_t*)value = pool.reserved_peak; return SUCCESS;
    case 7: *(uint64_t*)value = pool.used; return SUCCESS;
    case 8: *(uint64_t*)value = pool.used_peak; return SUCCESS;
    default: return INVALID_VALUE;
  }
}
EXPORT int cuMemPoolTrimTo(uint64_t handle, size_t keep) {
  ENTER(cuMemPoolTrimTo);
  if (handle != (uint64_t)&pool_object) return INVALID_HANDLE;
  std::lock_guard<std::mutex> lock(mutex);
  trim(keep);
  return SUCCESS;
}

// Pinned memory of the host.
EXPORT int cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  ENTER(cuMemHostAlloc);
  if (bytes == 0) return INVALID_VALUE;
  if (posix_memalign(address, 4096, rounded(bytes, 4096)) != 0) return OUT_OF_MEMORY;
  memset(*address, POISON, bytes);
  std::lock_guard<std::mutex> lock(mutex);
  pinned[(uint64_t)*address] = bytes;
  return SUCCESS;
}
EXPORT int cuMemAllocHost_v2(void** address, size_t bytes) { return cuMemHostAlloc(address, bytes, 0); }
EXPORT int cuMemFreeHost(void* address) {
  ENTER_WAITING(cuMemFreeHost);
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (pinned.erase((uint64_t)address) == 0) return INVALID_VALUE;
  }
  free(address);
  return SUCCESS;
}
