// cp.async: copies to shared memory that are done when they are waited for, and not before, so that a missing wait shows.
#include <algorithm>

#include "block.hpp"
#include "driver.hpp"

namespace emulator {

void copy_async(void* shared, const void* global, int bytes, int valid, SpftPlace place) {
  if ((uintptr_t)shared % (unsigned)bytes != 0 || (valid && (uintptr_t)global % (unsigned)bytes != 0))
    fail(MISALIGNED_ADDRESS, place, "cp.async: an address is not a multiple of %d bytes", bytes);
  if (!is_shared_memory(shared, (size_t)bytes)) fail(ILLEGAL_ADDRESS, place, "cp.async: the target does not lie in shared memory");
  // The kernel need not have anything valid to point to where nothing is read.
  if (valid && !is_device_memory((uint64_t)global, (size_t)bytes))
    fail(ILLEGAL_ADDRESS, place, "cp.async: the source %p does not lie within an allocation of the device", global);
  memset(shared, 0xff, (size_t)bytes);
  Thread& thread = *block.current;
  thread.copies.push_back({shared, global, bytes, valid != 0, thread.groups});
}

void copy_async_commit() { block.current->groups++; }

void copy_async_wait(int groups) {
  Thread& thread = *block.current;
  const auto pending = std::find_if(thread.copies.begin(), thread.copies.end(),
                                    [&](const AsyncCopy& copy) { return copy.group + (unsigned)groups >= thread.groups; });
  for (auto copy = thread.copies.begin(); copy != pending; ++copy) {
    if (copy->valid) memcpy(copy->shared, copy->global, (size_t)copy->bytes);
    else memset(copy->shared, 0, (size_t)copy->bytes);
    note_write(copy->shared, (size_t)copy->bytes);
  }
  thread.copies.erase(thread.copies.begin(), pending);
}

}  // namespace emulator
