// Which bytes of shared memory a product of a warpgroup, or a copy in bulk out of it, may not read yet: those whose writer has had no proxy fence since. On a GPU
// it may read what was there before; here it would always read what it should.
//
// Known of what cp.async, stmatrix and ptx_store_shared write; with SPFT_EMULATOR_PROXY=1 kernels are compiled so that they tell of every store.
#include <algorithm>
#include <vector>

#include "block.hpp"
#include "driver.hpp"

namespace emulator {

namespace {

const unsigned GRAIN = 2;  // bytes

struct Range {
  unsigned from, to;  // in grains
};

const unsigned EACH = (256 << 10) / GRAIN, MOST_BLOCKS = 8;
unsigned short writers[MOST_BLOCKS * EACH];  // of what is not fenced yet, the number of the thread and 1
std::vector<Range> written[1024];
bool any;

}  // namespace

void reset_proxy() {
  if (!any) return;
  any = false;
  std::fill(std::begin(writers), std::end(writers), 0);
  for (auto& ranges : written) ranges.clear();
}

void note_write(const void* to, size_t bytes) { note_write_of(block.current->number, to, bytes); }

void note_write_of(unsigned thread, const void* to, size_t bytes) {
  if (!is_shared_memory(to, bytes)) return;
  const unsigned address = shared_address(to, {}), first = block.current->rank * EACH;
  const Range range = {first + address / GRAIN, first + (address + (unsigned)bytes + GRAIN - 1) / GRAIN};
  if (std::all_of(writers + range.from, writers + range.to, [&](unsigned writer) { return writer == thread + 1; })) return;
  any = true;
  std::fill(writers + range.from, writers + range.to, (unsigned short)(thread + 1));
  written[thread].push_back(range);
}

void forget_writes(unsigned rank, unsigned address, unsigned bytes) {
  unsigned short* from = writers + rank * EACH + address / GRAIN;
  std::fill(from, from + bytes / GRAIN, (unsigned short)0);
}

void proxy_fence() {
  const unsigned thread = block.current->number;
  for (const Range& range : written[thread])
    for (unsigned i = range.from; i < range.to; i++)
      if (writers[i] == thread + 1) writers[i] = 0;
  written[thread].clear();
}

void check_fenced(unsigned address, const char* what, SpftPlace place) {
  const unsigned short *from = writers + block.current->rank * EACH + address / GRAIN, *to = from + 16 / GRAIN;
  const unsigned short* found = std::find_if(from, to, [](unsigned writer) { return writer != 0; });
  if (found != to)
    fail(LAUNCH_FAILED, place, "%s: what it reads at 0x%x of shared memory was written by thread %u, which has had no fence (ptx_fence_shared_for_wgmma) since",
         what, address, *found - 1);
}

}  // namespace emulator
