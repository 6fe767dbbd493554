// The block of threads that runs at the moment, and what its threads may do: wait, be woken, fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "interface.h"

namespace emulator {

enum class State { UNSTARTED, RUNNING, AT_BARRIER, IN_WARP, EXITED };

struct AsyncCopy {
  void* shared;
  const void* global;
  int bytes;
  bool valid;
  unsigned group;
};

// What a thread brings to something that its warp does together; the last one to come does it for all.
typedef void (*Together)(unsigned mask, void* const* brought);

struct Thread {
  void* stack;  // where it is to be resumed
  SpftIndex index;
  unsigned number;
  State state;
  SpftPlace place;  // where it waits
  // IN_WARP
  unsigned mask;
  Together together;
  const char* what;
  void* brought;
  // AT_BARRIER
  SpftBarrier barrier;
  int result;

  unsigned groups;  // committed groups of asynchronous copies
  std::vector<AsyncCopy> copies;
};

// What is known of a warp without a look at each of its lanes.
struct Warp {
  unsigned waiting;    // how many lanes are IN_WARP
  unsigned exited;     // which lanes have exited, a bit each
  const Thread* last;  // of those that wait, the one that came last; null when it has been woken
};

struct Block {
  Thread* threads;
  unsigned count;
  Thread* current;
  Warp warps[32];
};
extern Block block;

// Gives way to other threads until this one is woken.
void wait();
void wake(Thread& thread);
// Ends the launch with `status`; does not return.
[[noreturn]] void fail(int status, SpftPlace place, const char* format, ...) __attribute__((format(printf, 3, 4)));
bool is_shared_memory(const void* address, size_t bytes);

// ---- barrier.cpp, warp.cpp, async_copy.cpp: the functions of SpftRuntime ----
void reset_barrier();
int barrier(SpftBarrier kind, int predicate, SpftPlace place);
void warp_barrier(unsigned mask, SpftPlace place);
unsigned long long shuffle(SpftShuffle kind, unsigned mask, unsigned long long value, int operand, int width, SpftPlace place);
unsigned ballot(unsigned mask, int predicate, SpftPlace place);
unsigned match(unsigned mask, unsigned long long value, SpftPlace place);
unsigned reduce(SpftReduce kind, unsigned mask, unsigned value, SpftPlace place);
void load_matrices(unsigned* registers, const void* row, int transposed, SpftPlace place);
void multiply_16816(float* d, const unsigned* a, unsigned b0, unsigned b1, SpftPlace place);
void copy_async(void* shared, const void* global, int bytes, int valid, SpftPlace place);
void copy_async_commit();
void copy_async_wait(int groups);

}  // namespace emulator
