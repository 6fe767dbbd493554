// Hopper's products of a warpgroup (wgmma), four warps together.
//
// They run behind the threads' backs: what a thread brings as accumulators is taken out of its registers when a product starts (NaN is left there), and
// comes back when it waits for the product. Operands are read when the last of the 128 threads commits, or, with SPFT_EMULATOR_PRODUCTS=late, when the
// last of them waits: what must be there at the start shows in the one, what must stay until the end in the other.
#include <array>
#include <cmath>
#include <vector>

#include "block.hpp"
#include "driver.hpp"

namespace emulator {

namespace {

const unsigned THREADS = 128, ROWS = 64, INNER = 16, INNER_CODES = 32, MOST_COLUMNS = 256, SLOTS = 8;
// Between rows of accumulators, for every shape: a thread that is ahead may bring new ones while another has not got its old ones back, and each touches
// its own places only.
const unsigned PITCH = MOST_COLUMNS + 16;

struct Pending {
  SpftProduct product;
  unsigned slot, group;
  SpftPlace place;
};

// What a thread has under way.
struct Products {
  std::vector<Pending> pending;  // started, but not done
  unsigned committed;
  bool fenced;  // since it last waited
  // Accumulators that are not in the thread's registers, and the group of the last product that adds to them.
  struct {
    float* d;
    unsigned columns, group;
  } slots[SLOTS];
};

struct Warpgroup {
  unsigned waiting;
  const Thread* first;
};

Products products[1024];
Warpgroup warpgroups[1024 / THREADS];
float accumulators[1024 / THREADS][SLOTS][ROWS * PITCH];
bool late;

Products& mine() { return products[block.current->number]; }

// Where number e of octet n of a thread's accumulators lies among the warpgroup's.
unsigned place_in(unsigned thread, unsigned n, unsigned e) {
  const unsigned warp = thread / 32 % 4, lane = thread % 32;
  return (16 * warp + lane / 4 + e / 2 * 8) * PITCH + 8 * n + lane % 4 * 2 + e % 2;
}

// All 128 threads come here. True for the last of them, which then acts for all and calls `part`.
bool meet(const char* what, SpftPlace place) {
  Thread& self = *block.current;
  const unsigned number = self.number / THREADS, base = number * THREADS;
  if (base + THREADS > block.count) fail(LAUNCH_FAILED, place, "%s: thread %u is in no whole warpgroup of 128 threads", what, self.number);
  for (unsigned warp = base / 32; warp < base / 32 + 4; warp++)
    if (block.warps[warp].exited) fail(LAUNCH_FAILED, place, "%s: of warp %u, which is of the warpgroup, threads have exited", what, warp);
  Warpgroup& group = warpgroups[number];
  if (group.waiting == 0) {
    group.first = &self;
  } else if (group.first->what != what || group.first->place.line != place.line || strcmp(group.first->place.file, place.file) != 0) {
    const SpftPlace other = group.first->place;
    fail(LAUNCH_FAILED, place, "threads of a warpgroup are at different places: thread %u at %s (%s:%d), thread %u at %s", group.first->number,
         group.first->what, other.file, other.line, self.number, what);
  }
  self.what = what;
  self.place = place;
  if (++group.waiting == THREADS) return true;
  self.state = State::WAITING;
  wait();
  return false;
}

void part(unsigned number) {
  warpgroups[number].waiting = 0;
  for (unsigned i = number * THREADS; i < (number + 1) * THREADS; i++)
    if (&block.threads[i] != block.current) wake(block.threads[i]);
}

float float_of(unsigned short bits) {
  const unsigned wide = (unsigned)bits << 16;
  float x;
  memcpy(&x, &wide, sizeof x);
  return x;
}

// Of E4M3: four bits of exponent, three of mantissa, no infinity.
float float_of_code(unsigned char code) {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> made;
    for (unsigned i = 0; i < 256; i++) {
      const unsigned exponent = i >> 3 & 15, mantissa = i & 7;
      const float magnitude = (i & 127) == 127 ? NAN : exponent ? ldexpf(1.0f + (float)mantissa / 8, (int)exponent - 7) : ldexpf((float)mantissa, -9);
      made[i] = i & 128 ? -magnitude : magnitude;
    }
    return made;
  }();
  return table[code];
}

// An operand of `across` rows or columns by 16 bf16 or 32 codes of the inner dimension, in shared memory (PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout"), with the
// swizzle of 128 bytes: the chunk of 16 bytes at an address lies at that whose bits 4 to 6 are these XOR bits 7 to 9. Eight rows of 128 bytes are a
// pattern of it, 1024 bytes, and patterns lie at multiples of 1024.
//   The inner dimension along memory: a row has one index across, eight rows further is the stride.
//   The other along memory ("transposed"): a row has one inner index and 64 across; eight rows further is the stride, 64 across the leading distance.
// `to` gets number (x, k) at to[x * across_step + k * inner_step].
void load_operand(float* to, unsigned across, unsigned across_step, unsigned inner_step, unsigned long long descriptor, bool transposed, bool codes,
                  const char* which, SpftPlace place) {
  const unsigned start = (unsigned)(descriptor & 0x3fff) << 4, leading = (unsigned)(descriptor >> 16 & 0x3fff) << 4,
                 stride = (unsigned)(descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1)
    fail(LAUNCH_FAILED, place, "wgmma: the descriptor of %s says another swizzle than one of 128 bytes (1), which is all that the emulator has: %llu", which,
         descriptor >> 62);
  if (descriptor & 0x3fffc000c000c000ull)
    fail(LAUNCH_FAILED, place, "wgmma: the descriptor of %s, 0x%016llx, has bits where there are no fields, or a base offset, which the emulator has not", which,
         descriptor);
  if (start >> 7 & 7)
    fail(LAUNCH_FAILED, place, "wgmma: %s begins at 0x%x, which is not in the first row of a pattern of 1024 bytes: the swizzle would be another", which, start);
  const bool panels = transposed && across > 64;
  if (stride % 1024 || (panels && leading % 1024))
    fail(LAUNCH_FAILED, place, "wgmma: the distances of %s, %u (leading) and %u (stride), are not multiples of the pattern of 1024 bytes", which, leading, stride);
  const unsigned row_bytes = 2 * (transposed ? across > 64 ? 64 : across : INNER);  // as many of codes: these are never transposed
  if ((start & 127) + row_bytes > 128)
    fail(LAUNCH_FAILED, place, "wgmma: rows of %s, %u bytes from byte %u on, go beyond the 128 bytes of a row", which, row_bytes, start & 127);
  const unsigned rows = transposed ? INNER : across, row_chunks = row_bytes / 16;
  for (unsigned panel = 0; panel < (panels ? across / 64 : 1); panel++)
    for (unsigned row = 0; row < rows; row++)
      for (unsigned chunk = 0; chunk < row_chunks; chunk++) {
        const unsigned linear = start + panel * leading + row / 8 * stride + row % 8 * 128 + chunk * 16, address = linear ^ (linear >> 7 & 7) << 4;
        const void* from = shared_pointer(address, 16);
        if (!from) fail(ILLEGAL_ADDRESS, place, "wgmma: %s reaches to 0x%x, which is not in the shared memory of the block", which, address);
        check_fenced(address, "wgmma", place);
        const unsigned each = codes ? 16 : 8;
        const unsigned x = transposed ? panel * 64 + chunk * each : row, k = transposed ? row : chunk * each;
        float* at = to + x * across_step + k * inner_step;
        const unsigned step = transposed ? across_step : inner_step;
        for (unsigned i = 0; i < each; i++) at[i * step] = codes ? float_of_code(((const unsigned char*)from)[i]) : float_of(((const unsigned short*)from)[i]);
      }
}

// d [ROWS, columns], of that pitch, += a [ROWS, inner] · b [inner, columns].
#if defined(__x86_64__)
__attribute__((target_clones("arch=x86-64-v3", "default")))
#endif
void multiply(float* d, const float* a, const float* b, unsigned columns, unsigned inner) {
  const unsigned AT_ONCE = 32;
  for (unsigned first = 0; first < columns; first += AT_ONCE)
    for (unsigned row = 0; row < ROWS; row++) {
      float sums[AT_ONCE];
      float* to = d + row * PITCH + first;
      for (unsigned i = 0; i < AT_ONCE; i++) sums[i] = to[i];
      for (unsigned k = 0; k < inner; k++) {
        const float x = a[row * inner + k];
        const float* from = b + k * columns + first;
        for (unsigned i = 0; i < AT_ONCE; i++) sums[i] += x * from[i];
      }
      for (unsigned i = 0; i < AT_ONCE; i++) to[i] = sums[i];
    }
}

// The product that is number `index` of each thread's pending ones.
void do_product(unsigned warpgroup, unsigned index) {
  static float a[ROWS * INNER_CODES], b[INNER_CODES * MOST_COLUMNS];
  const Products* all = products + warpgroup * THREADS;
  const Pending& pending = all[0].pending[index];
  const SpftProduct& product = pending.product;
  const unsigned columns = (unsigned)product.columns, inner = product.codes ? INNER_CODES : INNER;
  for (unsigned i = 1; i < THREADS; i++) {
    const Pending* other = index < all[i].pending.size() ? &all[i].pending[index] : nullptr;
    if (!other || other->group != pending.group || other->slot != pending.slot || other->product.columns != product.columns || other->product.codes != product.codes ||
        !other->product.a_registers != !product.a_registers || other->product.transpose_a != product.transpose_a ||
        other->product.transpose_b != product.transpose_b)
      fail(LAUNCH_FAILED, pending.place, "wgmma: threads %u and %u of a warpgroup start different products", warpgroup * THREADS, warpgroup * THREADS + i);
    if (other->product.b != product.b || (!product.a_registers && other->product.a != product.a) || !other->product.accumulate != !product.accumulate)
      fail(LAUNCH_FAILED, pending.place, "wgmma: threads %u and %u of a warpgroup bring different descriptors, or different words on whether to add",
           warpgroup * THREADS, warpgroup * THREADS + i);
  }
  if (product.a_registers) {
    for (unsigned i = 0; i < THREADS; i++) {
      const unsigned* registers = all[i].pending[index].product.a_registers;
      // Two numbers or four codes a register.
      const unsigned each = inner / 8, row = i / 32 * 16 + i % 32 / 4, column = i % 4 * each;
      for (unsigned r = 0; r < 4; r++)
        for (unsigned n = 0; n < each; n++)
          a[(row + r % 2 * 8) * inner + column + r / 2 * (inner / 2) + n] =
              product.codes ? float_of_code((unsigned char)(registers[r] >> 8 * n)) : float_of((unsigned short)(registers[r] >> 16 * n));
    }
  } else {
    load_operand(a, ROWS, inner, 1, product.a, product.transpose_a, product.codes, "a", pending.place);
  }
  load_operand(b, columns, 1, columns, product.b, product.transpose_b, product.codes, "b", pending.place);
  float* d = accumulators[warpgroup][pending.slot];
  if (!product.accumulate)
    for (unsigned row = 0; row < ROWS; row++) memset(d + row * PITCH, 0, columns * sizeof *d);
  multiply(d, a, b, columns, inner);
}

// Does the products of the first `groups` groups, for which all threads of the warpgroup are here.
void do_products(const char* what, unsigned groups, SpftPlace place) {
  const unsigned number = block.current->number / THREADS;
  if (!meet(what, place)) return;
  const auto ready = [groups](const Products& of) {
    size_t count = 0;
    while (count < of.pending.size() && of.pending[count].group < groups) count++;
    return count;
  };
  const size_t count = ready(mine());
  for (unsigned i = number * THREADS; i < (number + 1) * THREADS; i++)
    if (products[i].committed != mine().committed || ready(products[i]) != count)
      fail(LAUNCH_FAILED, place, "%s: threads %u and %u of a warpgroup have started different numbers of products", what, block.current->number, i);
  for (unsigned index = 0; index < count; index++) do_product(number, index);
  for (unsigned i = number * THREADS; i < (number + 1) * THREADS; i++) {
    std::vector<Pending>& pending = products[i].pending;
    pending.erase(pending.begin(), pending.begin() + (ptrdiff_t)count);
  }
  part(number);
}

}  // namespace

void reset_products() {
  const char* wanted = getenv("SPFT_EMULATOR_PRODUCTS");
  late = wanted && strcmp(wanted, "late") == 0;
  for (unsigned i = 0; i < block.count; i++) {
    Products& of = products[i];
    of.pending.clear();
    of.committed = 0;
    of.fenced = false;
    for (auto& slot : of.slots) slot.d = nullptr;
  }
  for (Warpgroup& group : warpgroups) group.waiting = 0;
}

void product_fence() { mine().fenced = true; }

void product_start(const SpftProduct* product, SpftPlace place) {
  Products& own = mine();
  const unsigned thread = block.current->number, columns = (unsigned)product->columns;
  unsigned slot = 0, unused = SLOTS;
  for (; slot < SLOTS && own.slots[slot].d != product->d; slot++)
    if (!own.slots[slot].d && unused == SLOTS) unused = slot;
  const bool under_way = slot < SLOTS;
  if (!own.fenced && (!under_way || product->a_registers))
    fail(LAUNCH_FAILED, place, "wgmma: since this thread last waited for products, it has had no fence before it brings registers to one");
  if (!under_way) {
    slot = unused;
    if (slot == SLOTS) fail(LAUNCH_FAILED, place, "wgmma: more than %u accumulators under way, which the emulator has no room for", SLOTS);
    own.slots[slot].d = product->d;
    own.slots[slot].columns = columns;
    float* to = accumulators[thread / THREADS][slot];
    for (unsigned n = 0; n < columns / 8; n++)
      for (unsigned e = 0; e < 4; e++) {
        to[place_in(thread, n, e)] = product->d[4 * n + e];
        memset(product->d + 4 * n + e, 0xff, sizeof(float));
      }
  } else if (own.slots[slot].columns != columns) {
    fail(LAUNCH_FAILED, place, "wgmma: products of different shapes with the same accumulators are under way");
  }
  own.slots[slot].group = own.committed;
  own.pending.push_back({*product, slot, own.committed, place});
}

void product_commit(SpftPlace place) {
  const unsigned groups = ++mine().committed;
  if (!late) do_products("wgmma.commit_group", groups, place);
}

void product_wait(int under_way, SpftPlace place) {
  Products& own = mine();
  const unsigned thread = block.current->number;
  const unsigned over = own.committed > (unsigned)under_way ? own.committed - (unsigned)under_way : 0;
  if (late) do_products("wgmma.wait_group", over, place);
  own.fenced = false;
  for (unsigned slot = 0; slot < SLOTS; slot++) {
    float* d = own.slots[slot].d;
    if (!d || own.slots[slot].group >= over) continue;
    const float* from = accumulators[thread / THREADS][slot];
    const unsigned columns = own.slots[slot].columns;
    for (unsigned n = 0; n < columns / 8; n++)
      for (unsigned e = 0; e < 4; e++) d[4 * n + e] = from[place_in(thread, n, e)];
    own.slots[slot].d = nullptr;
  }
}

}  // namespace emulator
