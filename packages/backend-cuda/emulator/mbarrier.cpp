// Barriers in shared memory (mbarrier), whose waiters give way to other threads.
#include <map>

#include "block.hpp"
#include "driver.hpp"

namespace emulator {

namespace {

unsigned place_of(const void* barrier);

// What is in the eight bytes: unlike fresh memory, so that one that was not made is known.
struct Words {
  unsigned pending : 20, phase : 12, expected : 20, mark : 12;
};
const unsigned MARK = 0x5b7, MOST = (1u << 20) - 1;
static_assert(sizeof(Words) == 8, "as large as on a GPU");

// Bytes of copies that the phase under way waits for, of barriers that wait for such.
std::map<const void*, long> bytes_due;
unsigned fruitless;  // tests in a row that came too early, and nothing happened between them

Words& check(void* barrier, const char* what, SpftPlace place) {
  if ((uintptr_t)barrier % 8 != 0) fail(MISALIGNED_ADDRESS, place, "%s: the barrier's address is not a multiple of 8", what);
  if (!place_of(barrier)) fail(ILLEGAL_ADDRESS, place, "%s: the barrier does not lie in shared memory", what);
  return *(Words*)barrier;
}
Words& made(void* barrier, const char* what, SpftPlace place) {
  Words& words = check(barrier, what, place);
  if (words.mark != MARK) fail(LAUNCH_FAILED, place, "%s: there is no barrier at 0x%x of shared memory, or it was overwritten", what, place_of(barrier));
  return words;
}
unsigned place_of(const void* barrier) {
  for (unsigned rank = 0; rank < block.cluster; rank++)
    for (const SharedRange& range : shared_ranges_of(rank))
      if (barrier >= range.at && barrier < range.at + range.bytes) return range.address + (unsigned)((const unsigned char*)barrier - range.at);
  return 0;
}
bool is_over(const Words& words, unsigned parity) { return (words.phase & 1) != (parity & 1); }

}  // namespace

void reset_mbarriers() {
  fruitless = 0;
  bytes_due.clear();
}

void mbarrier_init(void* barrier, int count, SpftPlace place) {
  Words& words = check(barrier, "mbarrier.init", place);
  if (count < 1 || (unsigned)count > MOST) fail(LAUNCH_FAILED, place, "mbarrier.init: a count of %d is not in 1 … %u", count, MOST);
  words = {(unsigned)count, 0, (unsigned)count, MARK};
  bytes_due.erase(barrier);
}

namespace {
// Ends the phase if all has come.
void look(const void* barrier, Words& words) {
  fruitless = 0;
  if (words.pending > 0) return;
  const auto due = bytes_due.find(barrier);
  if (due != bytes_due.end() && due->second != 0) return;
  words.pending = words.expected;
  words.phase = words.phase + 1;
  for (unsigned i = 0; i < block.count; i++) {
    Thread& thread = block.threads[i];
    if (thread.state == State::AT_MBARRIER && thread.mbarrier == barrier && is_over(words, thread.parity)) wake(thread);
  }
}
}  // namespace

void mbarrier_arrive(void* barrier, SpftPlace place) {
  Words& words = made(barrier, "mbarrier.arrive", place);
  if (words.pending == 0) fail(LAUNCH_FAILED, place, "mbarrier.arrive: more arrivals than the barrier at 0x%x of shared memory has been made for", place_of(barrier));
  words.pending = words.pending - 1;
  look(barrier, words);
}

void mbarrier_expect(void* barrier, unsigned bytes, SpftPlace place) {
  made(barrier, "mbarrier.expect_tx", place);
  bytes_due[barrier] += bytes;
  mbarrier_arrive(barrier, place);
}

void mbarrier_complete(void* barrier, unsigned bytes, SpftPlace place) {
  Words& words = made(barrier, "a copy in bulk", place);
  bytes_due[barrier] -= bytes;
  look(barrier, words);
}

int mbarrier_test(void* barrier, unsigned parity, SpftPlace place) {
  const bool over = is_over(made(barrier, "mbarrier.test_wait", place), parity);
  if (over) return true;
  if (++fruitless > 100000)
    fail(LAUNCH_FAILED, place, "mbarrier.test_wait: threads test barriers in a loop, and no other can arrive at one");
  give_way();
  return false;
}

void mbarrier_wait(void* barrier, unsigned parity, SpftPlace place) {
  const Words& words = made(barrier, "mbarrier.try_wait", place);
  if (is_over(words, parity)) return;
  Thread& self = *block.current;
  self.state = State::AT_MBARRIER;
  self.mbarrier = barrier;
  self.parity = parity & 1;
  self.place = place;
  const unsigned phase = words.phase;
  wait();
  // On a GPU a thread looks at the parity now and then, and has then missed the end of the phase.
  if (words.phase != ((phase + 1) & 0xfff))
    fail(LAUNCH_FAILED, place, "mbarrier: the barrier at 0x%x of shared memory went on by more than a phase before a thread that waited for it came to run",
         place_of(barrier));
}

}  // namespace emulator
