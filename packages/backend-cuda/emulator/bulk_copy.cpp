// Copies of boxes of a matrix to shared memory and out of it (cp.async.bulk.tensor), and the maps by which they see the matrix.
//
// Those to shared memory are done one by one when no thread can run, so that a missing wait shows; until then there is NaN where they go. Those out of it are done when
// the thread that started them waits for them; what they read must be there from their start on, and stay until then.
#include <deque>

#include "block.hpp"
#include "driver.hpp"

namespace emulator {

namespace {

// Of bytes in two dimensions, in the place of CUtensorMap's 128 bytes.
struct Map {
  unsigned long long mark, address, columns, rows, stride;
  unsigned box_columns, box_rows;
};
const unsigned long long MARK = 0x7370667470616d21;

struct Copy {
  Map map;
  int x, y;
  struct Target {
    unsigned char* to;
    void* barrier;
  };
  std::vector<Target> targets;
  SpftPlace place;
  Thread* by;
};
std::deque<Copy> copies;

struct CopyOut {
  Map map;
  int x, y;
  unsigned char* from;
  unsigned address, group;
  std::vector<unsigned char> before;  // what is there when it starts
  SpftPlace place;
};
struct CopiesOut {
  std::vector<CopyOut> pending;
  unsigned committed;  // groups
};
CopiesOut copies_out[1024];

Map map_of(const void* of, SpftPlace place) {
  Map map;
  memcpy(&map, of, sizeof map);
  if (map.mark != MARK) fail(LAUNCH_FAILED, place, "cp.async.bulk.tensor: the map was not made by cuTensorMapEncodeTiled");
  return map;
}

// Calls `act` for each byte of the box at (x, y): with its place in a box in shared memory and its address in the matrix, which is null outside of it.
template <typename Act> void each_byte(const Map& map, int box_x, int box_y, SpftPlace place, Act act) {
  for (unsigned row = 0; row < map.box_rows; row++) {
    const long long y = (long long)box_y + row;
    for (unsigned column = 0; column < map.box_columns; column++) {
      const long long x = (long long)box_x + column;
      const bool inside = x >= 0 && y >= 0 && x < (long long)map.columns && y < (long long)map.rows;
      unsigned char* at = inside ? (unsigned char*)(map.address + (unsigned long long)y * map.stride + (unsigned long long)x) : nullptr;
      if (inside && (column == 0 || x % 16 == 0) && !is_device_memory((uint64_t)at, 1))
        fail(ILLEGAL_ADDRESS, place, "cp.async.bulk.tensor: (%lld, %lld) of the matrix does not lie within an allocation of the device", x, y);
      act(row * map.box_columns + (column ^ (row & 7) << 4), at);
    }
  }
}

// Fails where what the copy reads was written without a fence since.
void check_source(const CopyOut& copy) {
  unsigned checked = ~0u;
  each_byte(copy.map, copy.x, copy.y, copy.place, [&](unsigned at, const unsigned char* to) {
    if (!to || at / 16 == checked) return;
    checked = at / 16;
    check_fenced(copy.address + checked * 16, "cp.async.bulk.tensor out of shared memory", copy.place);
  });
}

void do_copy_out(const CopyOut& copy) {
  check_source(copy);
  each_byte(copy.map, copy.x, copy.y, copy.place, [&](unsigned at, unsigned char* to) {
    if (!to) return;
    if (copy.from[at] != copy.before[at])
      fail(LAUNCH_FAILED, copy.place,
           "cp.async.bulk.tensor out of shared memory: 0x%x was written after the copy had been started and before it was waited for (ptx_copies_out_wait)",
           copy.address + at);
    *to = copy.from[at];
  });
}

}  // namespace

void reset_bulk_copies() {
  copies.clear();
  for (unsigned i = 0; i < block.count; i++) {
    copies_out[i].pending.clear();
    copies_out[i].committed = 0;
  }
}

void bulk_copy(unsigned to, const void* of, int x, int y, unsigned barrier, unsigned blocks, SpftPlace place) {
  Copy copy = {map_of(of, place), x, y, {}, place, block.current};
  const Map& map = copy.map;
  if (to % 1024) fail(MISALIGNED_ADDRESS, place, "cp.async.bulk.tensor: the target 0x%x does not lie where a pattern of 1024 bytes begins", to);
  const unsigned bytes = map.box_columns * map.box_rows;
  for (unsigned rank = 0; rank < block.cluster; rank++) {
    if (!(blocks >> rank & 1)) continue;
    Copy::Target target = {(unsigned char*)shared_pointer_in(rank, to, bytes), shared_pointer_in(rank, barrier, 8)};
    if (!target.to) fail(ILLEGAL_ADDRESS, place, "cp.async.bulk.tensor: the target 0x%x does not lie in the block's shared memory", to);
    if (!target.barrier) fail(ILLEGAL_ADDRESS, place, "cp.async.bulk.tensor: the barrier 0x%x does not lie in the block's shared memory", barrier);
    memset(target.to, 0xff, bytes);
    forget_writes(rank, to, bytes);
    copy.targets.push_back(target);
  }
  if (blocks >> block.cluster) fail(LAUNCH_FAILED, place, "cp.async.bulk.tensor: the cluster has %u blocks, not those of mask 0x%x", block.cluster, blocks);
  copies.push_back(copy);
}

bool do_bulk_copy() {
  if (copies.empty()) return false;
  const Copy copy = copies.front();
  copies.pop_front();
  const Map& map = copy.map;
  block.current = copy.by;
  each_byte(map, copy.x, copy.y, copy.place, [&](unsigned at, const unsigned char* from) {
    for (const Copy::Target& target : copy.targets) target.to[at] = from ? *from : 0;
  });
  for (const Copy::Target& target : copy.targets) mbarrier_complete(target.barrier, map.box_columns * map.box_rows, copy.place);
  return true;
}

void bulk_copy_out(const void* of, int x, int y, unsigned from, SpftPlace place) {
  CopiesOut& own = copies_out[block.current->number];
  const Map map = map_of(of, place);
  if (from % 1024)
    fail(MISALIGNED_ADDRESS, place, "cp.async.bulk.tensor out of shared memory: the source 0x%x does not lie where a pattern of 1024 bytes begins", from);
  const unsigned bytes = map.box_columns * map.box_rows;
  unsigned char* at = (unsigned char*)shared_pointer(from, bytes);
  if (!at) fail(ILLEGAL_ADDRESS, place, "cp.async.bulk.tensor out of shared memory: the source 0x%x does not lie in the block's shared memory", from);
  own.pending.push_back({map, x, y, at, from, own.committed, {at, at + bytes}, place});
  check_source(own.pending.back());
}

void copies_out_commit() { copies_out[block.current->number].committed++; }

void copies_out_wait(int groups) {
  CopiesOut& own = copies_out[block.current->number];
  const auto is_over = [&](const CopyOut& copy) { return copy.group + (unsigned)groups < own.committed; };
  while (!own.pending.empty() && is_over(own.pending.front())) {
    do_copy_out(own.pending.front());
    own.pending.erase(own.pending.begin());
  }
}

void end_copies_out() {
  const CopiesOut& own = copies_out[block.current->number];
  if (!own.pending.empty())
    fail(LAUNCH_FAILED, own.pending.front().place,
         "cp.async.bulk.tensor out of shared memory: the thread ends without having waited for the copy (ptx_copies_out_commit, ptx_copies_out_wait<0>)");
}

}  // namespace emulator

// The one kind of map that kernels here use: bytes in two dimensions, rows of a box of 128 bytes, with the swizzle of as many, zeros outside.
EXPORT int cuTensorMapEncodeTiled(void* to, int type, unsigned rank, uint64_t address, const uint64_t* sizes, const uint64_t* strides, const uint32_t* box,
                                  const uint32_t* steps, int interleave, int swizzle, int, int outside) {
  using namespace emulator;
  ENTER(cuTensorMapEncodeTiled);
  if (!to || (uintptr_t)to % 64 || !sizes || !strides || !box || !steps) return INVALID_VALUE;
  const auto refuse = [](const char* why) {
    complain("cuTensorMapEncodeTiled: %s", why);
    return INVALID_VALUE;
  };
  if (type != 0 || rank != 2 || interleave != 0 || swizzle != 3 || outside != 0 || steps[0] != 1 || steps[1] != 1 || box[0] != 128)
    return refuse("only maps of bytes in two dimensions, in boxes of 128 columns with the swizzle of 128 bytes and zeros outside, are emulated");
  if (address % 16 || strides[0] % 16) return refuse("the address or the distance of rows is not a multiple of 16");
  if (sizes[0] == 0 || sizes[1] == 0 || sizes[0] > 1ull << 32 || sizes[1] > 1ull << 32 || strides[0] >= 1ull << 40) return refuse("a size is zero or too great");
  if (box[1] == 0 || box[1] > 256) return refuse("a box has 1 to 256 rows");
  const Map map = {MARK, address, sizes[0], sizes[1], strides[0], box[0], box[1]};
  memset(to, 0, 128);
  memcpy(to, &map, sizeof map);
  return SUCCESS;
}
