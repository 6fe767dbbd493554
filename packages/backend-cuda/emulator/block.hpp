// The block of threads that runs at the moment, and what its threads may do: wait, be woken, fail.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "interface.h"

namespace emulator {

enum class State { UNSTARTED, RUNNING, AT_BARRIER, IN_WARP, AT_MBARRIER, AT_NAMED_BARRIER, AT_CLUSTER, WAITING, EXITED };

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
  unsigned rank;  // of its block in the cluster
  State state;
  SpftPlace place;  // where it waits
  // IN_WARP
  unsigned mask;
  Together together;
  const char* what;
  void* brought;
  // AT_MBARRIER
  const void* mbarrier;
  unsigned parity;
  // AT_NAMED_BARRIER
  int named;
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

// The blocks of a cluster run together, as one whose threads are those of all.
struct Block {
  Thread* threads;
  unsigned count;
  unsigned cluster;  // blocks
  Thread* current;
  Warp warps[32];
};
extern Block block;

// Gives way to other threads until this one is woken.
void wait();
void wake(Thread& thread);
// Lets all others that can run do so first.
void give_way();
// Ends the launch with `status`; does not return.
[[noreturn]] void fail(int status, SpftPlace place, const char* format, ...) __attribute__((format(printf, 3, 4)));
bool is_shared_memory(const void* address, size_t bytes);
// Addresses within shared memory, of 18 bits as descriptors have them: a kernel's static memory begins at 1024, as on a GPU, the dynamic behind it at a
// multiple of 1024.
unsigned shared_address(const void* pointer, SpftPlace place);
// Null where not all the bytes are the block's.
void* shared_pointer(unsigned address, size_t bytes);

struct SharedRange {
  unsigned char* at;
  unsigned address, bytes;
};
// The static and the dynamic one of the current thread's block.
std::array<SharedRange, 2> shared_ranges();
std::array<SharedRange, 2> shared_ranges_of(unsigned rank);
void* shared_pointer_in(unsigned rank, unsigned address, size_t bytes);

// ---- proxy.cpp ----
void reset_proxy();
// The current thread wrote there, if it is shared memory.
void note_write(const void* to, size_t bytes);
// As well, that thread of the same block.
void note_write_of(unsigned thread, const void* to, size_t bytes);
// Fails where the chunk of 16 bytes at this address was written by a thread that has had no proxy fence since.
void check_fenced(unsigned address, const char* what, SpftPlace place);

// What others write there needs no fence.
void forget_writes(unsigned rank, unsigned address, unsigned bytes);

// ---- bulk_copy.cpp ----
void reset_bulk_copies();
// Does the first of those under way, if there is one.
bool do_bulk_copy();
// The current thread ends: fails if its copies out of shared memory are still under way.
void end_copies_out();

// ---- barrier.cpp, warp.cpp, async_copy.cpp, warpgroup.cpp, mbarrier.cpp, bulk_copy.cpp: the functions of SpftRuntime ----
void reset_barrier();
void reset_named_barriers();
void reset_products();
void reset_mbarriers();
int barrier(SpftBarrier kind, int predicate, SpftPlace place);
void warp_barrier(unsigned mask, SpftPlace place);
unsigned long long shuffle(SpftShuffle kind, unsigned mask, unsigned long long value, int operand, int width, SpftPlace place);
unsigned ballot(unsigned mask, int predicate, SpftPlace place);
unsigned match(unsigned mask, unsigned long long value, SpftPlace place);
unsigned reduce(SpftReduce kind, unsigned mask, unsigned value, SpftPlace place);
void load_matrices(unsigned* registers, const void* row, int transposed, SpftPlace place);
void store_matrices(void* row, const unsigned* registers, SpftPlace place);
void multiply_16816(float* d, const unsigned* a, unsigned b0, unsigned b1, SpftPlace place);
void copy_async(void* shared, const void* global, int bytes, int valid, SpftPlace place);
void copy_async_commit();
void copy_async_wait(int groups);
void product_fence();
void proxy_fence();
void product_start(const SpftProduct* product, SpftPlace place);
void product_commit(SpftPlace place);
void product_wait(int under_way, SpftPlace place);
void mbarrier_init(void* barrier, int count, SpftPlace place);
void mbarrier_arrive(void* barrier, SpftPlace place);
int mbarrier_test(void* barrier, unsigned parity, SpftPlace place);
void mbarrier_wait(void* barrier, unsigned parity, SpftPlace place);
void mbarrier_expect(void* barrier, unsigned bytes, SpftPlace place);
void mbarrier_complete(void* barrier, unsigned bytes, SpftPlace place);
void bulk_copy(unsigned to, const void* map, int x, int y, unsigned barrier, unsigned blocks, SpftPlace place);
void bulk_copy_out(const void* map, int x, int y, unsigned from, SpftPlace place);
void copies_out_commit();
void copies_out_wait(int groups);
void cluster_barrier(SpftPlace place);
void named_barrier(int number, int threads, SpftPlace place);

}  // namespace emulator
