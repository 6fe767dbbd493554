// What the threads of a warp do together: shuffles, votes, reductions, and the tensor core's instructions.
//
// Each thread brings the address of a struct on its own stack; the last one to come reads and writes the structs of all.
#include "block.hpp"
#include "driver.hpp"

namespace emulator {

namespace {

const unsigned FULL = 0xffffffffu;

#define EACH_LANE(lane, mask) for (unsigned lane = 0; lane < 32; lane++) if ((mask) >> lane & 1u)

unsigned lane_of(const Thread& thread) { return thread.number % 32; }
// A call, where the host's processor is not known to have an instruction for it.
unsigned count_of(unsigned mask) { return mask == FULL ? 32 : (unsigned)__builtin_popcount(mask); }

void do_together(const char* what, Together together, unsigned mask, void* brought, SpftPlace place) {
  Thread& self = *block.current;
  const unsigned lane = lane_of(self), base = self.number - lane;
  if (!(mask >> lane & 1u)) fail(LAUNCH_FAILED, place, "%s: mask 0x%08x does not name the calling lane %u", what, mask, lane);
  self.mask = mask;
  self.together = together;
  self.what = what;
  self.brought = brought;
  self.place = place;
  self.state = State::IN_WARP;
  Warp& warp = block.warps[self.number / 32];
  const Thread* before = warp.last;
  const bool alike = warp.waiting == 0 || (before && before->mask == mask && before->together == together);
  const unsigned highest = 31u - (unsigned)__builtin_clz(mask);
  warp.waiting++;
  warp.last = &self;
  // Most lanes wait for others, and have nothing to find: too few wait, none of those that are named is missing, and the one before, which saw no
  // difference to those before it, is at the same place. Only the others look at every lane.
  if (alike && warp.waiting < count_of(mask) && !(mask & warp.exited) && base + highest < block.count) return wait();
  bool complete = true;
  EACH_LANE(i, mask) {
    if (base + i >= block.count) fail(LAUNCH_FAILED, place, "%s: mask 0x%08x names lane %u, but the block has only %u threads", what, mask, i, block.count);
    const Thread& other = block.threads[base + i];
    if (other.state == State::EXITED) fail(LAUNCH_FAILED, place, "%s: mask 0x%08x names lane %u, which has exited", what, mask, i);
    if (other.state != State::IN_WARP || other.mask != mask) {
      complete = false;
    } else if (other.together != together) {
      fail(LAUNCH_FAILED, place, "lanes of a warp are at different places: lane %u at %s (%s:%d), lane %u at %s", i, other.what, other.place.file,
           other.place.line, lane, what);
    }
  }
  if (!complete) return wait();
  void* all[32] = {};
  EACH_LANE(i, mask) all[i] = block.threads[base + i].brought;
  together(mask, all);
  EACH_LANE(i, mask) if (i != lane) wake(block.threads[base + i]);
  self.state = State::RUNNING;
  warp.waiting -= count_of(mask);
  warp.last = nullptr;
}

struct Value {
  unsigned long long in, out;
  unsigned from;
};

void exchange(unsigned mask, void* const* brought) {
  EACH_LANE(i, mask) {
    Value& value = *(Value*)brought[i];
    // Of a lane that takes no part the value is undefined.
    value.out = mask >> value.from & 1u ? ((Value*)brought[value.from])->in : ~0ull;
  }
}

void vote(unsigned mask, void* const* brought) {
  unsigned long long bits = 0;
  EACH_LANE(i, mask) bits |= ((Value*)brought[i])->in << i;
  EACH_LANE(i, mask) ((Value*)brought[i])->out = bits;
}

void find_equals(unsigned mask, void* const* brought) {
  EACH_LANE(i, mask) {
    Value& value = *(Value*)brought[i];
    value.out = 0;
    EACH_LANE(j, mask) if (((Value*)brought[j])->in == value.in) value.out |= 1ull << j;
  }
}

void do_nothing(unsigned, void* const*) {}

template <SpftReduce kind> void reduce_together(unsigned mask, void* const* brought) {
  bool first = true;
  unsigned result = 0;
  EACH_LANE(i, mask) {
    const unsigned x = (unsigned)((Value*)brought[i])->in;
    const bool less = kind == SPFT_REDUCE_MIN || kind == SPFT_REDUCE_MAX ? x < result : (int)x < (int)result;
    if (first) result = x;
    else if (kind == SPFT_REDUCE_ADD) result += x;
    else if (kind == SPFT_REDUCE_AND) result &= x;
    else if (kind == SPFT_REDUCE_OR) result |= x;
    else if (kind == SPFT_REDUCE_XOR) result ^= x;
    else if (kind == SPFT_REDUCE_MIN || kind == SPFT_REDUCE_MIN_SIGNED) result = less ? x : result;
    else result = less ? result : x;
    first = false;
  }
  EACH_LANE(i, mask) ((Value*)brought[i])->out = result;
}

void check_row(const char* what, const void* row, SpftPlace place) {
  if ((uintptr_t)row % 16 != 0) fail(MISALIGNED_ADDRESS, place, "%s: the address of a row is not a multiple of 16 bytes", what);
  if (!is_shared_memory(row, 16)) fail(ILLEGAL_ADDRESS, place, "%s: a row does not lie in shared memory", what);
}

struct Matrices {
  unsigned* registers;
  const unsigned short* row;
};

struct Row {
  void* row;
  const unsigned* registers;
};

// Register i of a lane has of matrix i two neighbours of row lane/4: columns 2·(lane%4) and the next. Transposed, of a column.
template <bool transposed> void load_together(unsigned, void* const* brought) {
  for (unsigned i = 0; i < 4; i++)
    for (unsigned lane = 0; lane < 32; lane++) {
      unsigned pair[2];
      for (unsigned k = 0; k < 2; k++) {
        const unsigned row = transposed ? lane % 4 * 2 + k : lane / 4, column = transposed ? lane / 4 : lane % 4 * 2 + k;
        pair[k] = ((Matrices*)brought[8 * i + row])->row[column];
      }
      ((Matrices*)brought[lane])->registers[i] = pair[1] << 16 | pair[0];
    }
}

// The other way round: as it is who has them that writes numbers, it is that thread whose proxy fence they need.
void store_together(unsigned, void* const* brought) {
  const unsigned first = block.current->number / 32 * 32;
  for (unsigned i = 0; i < 4; i++)
    for (unsigned lane = 0; lane < 32; lane++) {
      unsigned* to = (unsigned*)((Row*)brought[8 * i + lane / 4])->row + lane % 4;
      *to = ((Row*)brought[lane])->registers[i];
      note_write_of(first + lane, to, 4);
    }
}

float half_of(unsigned pair, unsigned which) {
  const unsigned bits = which ? pair & 0xffff0000u : pair << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

struct Product {
  float* d;
  const unsigned* a;
  unsigned b[2];
};

// PTX ISA, "Matrix Fragments for mma.m16n8k16": with g = lane/4 and t = lane%4,
// a: (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), each with the next column; b: rows 2t and 2t + 8, each with the next row, of column g;
// d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
void multiply_together(unsigned, void* const* brought) {
  float a[16][16], b[16][8], d[16][8] = {};
  for (unsigned lane = 0; lane < 32; lane++) {
    const Product& product = *(Product*)brought[lane];
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned k = 0; k < 2; k++) {
      a[g][2 * t + k] = half_of(product.a[0], k);
      a[g + 8][2 * t + k] = half_of(product.a[1], k);
      a[g][2 * t + 8 + k] = half_of(product.a[2], k);
      a[g + 8][2 * t + 8 + k] = half_of(product.a[3], k);
      b[2 * t + k][g] = half_of(product.b[0], k);
      b[2 * t + 8 + k][g] = half_of(product.b[1], k);
    }
  }
  for (unsigned m = 0; m < 16; m++)
    for (unsigned k = 0; k < 16; k++)
      for (unsigned n = 0; n < 8; n++) d[m][n] += a[m][k] * b[k][n];
  for (unsigned lane = 0; lane < 32; lane++) {
    float* to = ((Product*)brought[lane])->d;
    const unsigned g = lane / 4, t = lane % 4;
    to[0] += d[g][2 * t];
    to[1] += d[g][2 * t + 1];
    to[2] += d[g + 8][2 * t];
    to[3] += d[g + 8][2 * t + 1];
  }
}

}  // namespace

void warp_barrier(unsigned mask, SpftPlace place) { do_together("__syncwarp", do_nothing, mask, nullptr, place); }

unsigned long long shuffle(SpftShuffle kind, unsigned mask, unsigned long long in, int operand, int width, SpftPlace place) {
  static const char* names[] = {"__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync"};
  if (width < 1 || width > 32 || (width & (width - 1))) fail(LAUNCH_FAILED, place, "%s: width %d is not a power of two up to 32", names[kind], width);
  const int lane = (int)lane_of(*block.current), low = lane & ~(width - 1), high = low + width;
  int from = lane;
  if (kind == SPFT_SHUFFLE) from = low | (operand & (width - 1));
  else if (kind == SPFT_SHUFFLE_UP) from = lane - operand < low ? lane : lane - operand;
  else if (kind == SPFT_SHUFFLE_DOWN) from = lane + operand >= high ? lane : lane + operand;
  else from = (lane ^ operand) >= high ? lane : lane ^ operand;
  Value value = {in, 0, (unsigned)from & 31u};
  do_together(names[kind], exchange, mask, &value, place);
  return value.out;
}

unsigned ballot(unsigned mask, int predicate, SpftPlace place) {
  Value value = {predicate != 0, 0, 0};
  do_together("__ballot_sync", vote, mask, &value, place);
  return (unsigned)value.out;
}

unsigned match(unsigned mask, unsigned long long in, SpftPlace place) {
  Value value = {in, 0, 0};
  do_together("__match_any_sync", find_equals, mask, &value, place);
  return (unsigned)value.out;
}

unsigned reduce(SpftReduce kind, unsigned mask, unsigned in, SpftPlace place) {
  static const Together reductions[] = {
      reduce_together<SPFT_REDUCE_ADD>,        reduce_together<SPFT_REDUCE_MIN>,        reduce_together<SPFT_REDUCE_MAX>,
      reduce_together<SPFT_REDUCE_MIN_SIGNED>, reduce_together<SPFT_REDUCE_MAX_SIGNED>, reduce_together<SPFT_REDUCE_AND>,
      reduce_together<SPFT_REDUCE_OR>,         reduce_together<SPFT_REDUCE_XOR>,
  };
  Value value = {in, 0, 0};
  do_together("__reduce_sync", reductions[kind], mask, &value, place);
  return (unsigned)value.out;
}

void load_matrices(unsigned* registers, const void* row, int transposed, SpftPlace place) {
  check_row("ldmatrix", row, place);
  Matrices matrices = {registers, (const unsigned short*)row};
  do_together("ldmatrix", transposed ? load_together<true> : load_together<false>, FULL, &matrices, place);
}

void store_matrices(void* row, const unsigned* registers, SpftPlace place) {
  check_row("stmatrix", row, place);
  Row own = {row, registers};
  do_together("stmatrix", store_together, FULL, &own, place);
}

void multiply_16816(float* d, const unsigned* a, unsigned b0, unsigned b1, SpftPlace place) {
  Product product = {d, a, {b0, b1}};
  do_together("mma", multiply_together, FULL, &product, place);
}

}  // namespace emulator
