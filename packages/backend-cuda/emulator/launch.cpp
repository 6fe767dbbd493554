// Runs the grid of a kernel: block after block, and the threads of a block one at a time, as fibers.
//
// A fiber runs thread after thread for as long as none has to wait, so a kernel without barriers pays for no switch. One that has to wait leaves
// its fiber to itself, and a new fiber goes on with the next thread.
#include <signal.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "block.hpp"
#include "driver.hpp"
#include "fiber.hpp"

namespace emulator {

Block block;

namespace {

const SpftRuntime runtime = {
    barrier,       warp_barrier,   shuffle,    ballot,            match,           reduce,
    load_matrices, store_matrices, multiply_16816, copy_async, copy_async_commit, copy_async_wait, shared_address,
    [](unsigned address, SpftPlace place) {
      void* pointer = shared_pointer(address, 16);
      if (!pointer) fail(ILLEGAL_ADDRESS, place, "16 bytes at 0x%x are not in the shared memory of the block", address);
      return pointer;
    },
    note_write, product_fence, proxy_fence, product_start, product_commit, product_wait, mbarrier_init, mbarrier_arrive, mbarrier_test, mbarrier_wait, mbarrier_expect,
    [](unsigned rank, unsigned address, SpftPlace place) {
      void* pointer = rank < block.cluster ? shared_pointer_in(rank, address, 8) : nullptr;
      if (!pointer) fail(ILLEGAL_ADDRESS, place, "8 bytes at 0x%x are not in the shared memory of block %u of the cluster", address, rank);
      return pointer;
    },
    []() { return block.current->rank; }, bulk_copy, bulk_copy_out, copies_out_commit, copies_out_wait, cluster_barrier, named_barrier,
    [](int status, const char* what, SpftPlace place) { fail(status, place, "%s", what); },
};

std::mutex one_launch;
FiberStacks stacks;
Thread threads[1024];
unsigned order[1024];       // in which the block's threads start
Thread* ready[1024];        // threads that were woken, a ring
unsigned ready_from, ready_count;
unsigned started, fibers;
const SpftModule* module;
const SpftKernel* kernel;
void** parameters;
void* launcher;             // the stack of launch()
void* nowhere;
const unsigned MOST_BLOCKS = 8;            // of a cluster
unsigned char* dynamic[MOST_BLOCKS];       // shared memory of each
SpftIndex block_index[MOST_BLOCKS];
unsigned shared_bytes;

int failure;
char failure_text[1024];
thread_local bool launching;

void set_current(Thread* thread) {
  block.current = thread;
  *module->thread = thread->index;
  *module->block = block_index[thread->rank];
  *module->dynamic_shared = dynamic[thread->rank];
}

void run_threads();

void start_next(void** save) { spft_switch(save, spft_prepare(stacks.top(fibers++), run_threads)); }

// Goes to a thread that can run, or to the launcher if there is none.
void leave(void** save) {
  if (ready_count > 0) {
    Thread* next = ready[ready_from];
    ready_from = (ready_from + 1) % 1024;
    ready_count--;
    set_current(next);
    spft_switch(save, next->stack);
  } else if (started < block.count) {
    start_next(save);
  } else if (do_bulk_copy()) {
    leave(save);
  } else {
    spft_switch(save, launcher);
  }
}

// What a fiber does.
void run_threads() {
  while (started < block.count) {
    Thread& thread = threads[order[started++]];
    thread.state = State::RUNNING;
    set_current(&thread);
    kernel->run(parameters);
    end_copies_out();
    Thread& ended = *block.current;
    ended.state = State::EXITED;
    block.warps[ended.number / 32].exited |= 1u << ended.number % 32;
  }
  leave(&nowhere);
  __builtin_unreachable();
}

std::string describe(Thread& thread) {
  static const char* names[] = {"__syncthreads", "__syncthreads_or", "__syncthreads_and", "__syncthreads_count"};
  char text[256];
  switch (thread.state) {
    case State::AT_BARRIER: snprintf(text, sizeof text, "%s", names[thread.barrier]); break;
    case State::AT_MBARRIER:
      block.current = &thread;
      snprintf(text, sizeof text, "the mbarrier at 0x%x, phase of parity %u,", shared_address(thread.mbarrier, thread.place), thread.parity);
      break;
    case State::AT_NAMED_BARRIER: snprintf(text, sizeof text, "the named barrier %d", thread.named); break;
    default: snprintf(text, sizeof text, "%s", thread.what);
  }
  const size_t length = strlen(text);
  snprintf(text + length, sizeof text - length, " (%s:%d", thread.place.file, thread.place.line);
  return text;
}

// No thread can run, yet some have not exited: says where one of each kind waits.
void explain_deadlock() {
  unsigned exited = 0;
  struct Kind {
    std::string text;
    unsigned first, count;
  };
  std::vector<Kind> kinds;
  for (unsigned i = 0; i < block.count; i++) {
    Thread& thread = threads[i];
    if (thread.state == State::EXITED) {
      exited++;
      continue;
    }
    const std::string text = describe(thread);
    auto same = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& kind) { return kind.text == text; });
    if (same == kinds.end()) kinds.push_back({text, thread.number, 1});
    else same->count++;
  }
  int length = snprintf(failure_text, sizeof failure_text, "threads wait for others that do not come: %u of %u have exited", exited, block.count);
  for (const auto& [text, first, count] : kinds)
    if (length < (int)sizeof failure_text)
      length += snprintf(failure_text + length, sizeof failure_text - (size_t)length, "; %u at %s; the first is thread %u)", count, text.c_str(), first);
  failure = LAUNCH_FAILED;
}

// ---- Faults of the kernel ----

struct sigaction before[4];
const int faults[4] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};

void on_fault(int signal, siginfo_t* info, void* context) {
  if (!launching) {
    // Of another thread: what was there before deals with it.
    const struct sigaction& old = before[std::find(faults, faults + 4, signal) - faults];
    if (old.sa_flags & SA_SIGINFO) old.sa_sigaction(signal, info, context);
    else if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) old.sa_handler(signal);
    else sigaction(signal, &old, nullptr);  // and the fault is met again
    return;
  }
  const SpftPlace nowhere_known = {nullptr, 0};
  const uint64_t address = (uint64_t)info->si_addr;
  if (signal == SIGSEGV && stacks.guards(address)) fail(LAUNCH_FAILED, nowhere_known, "stack overflow: more than %zu bytes of local variables", FiberStacks::BYTES);
  // x86 reports a misaligned vector access as a general protection fault, which has no address.
  if (signal == SIGSEGV && info->si_code == SI_KERNEL) fail(MISALIGNED_ADDRESS, nowhere_known, "misaligned address");
  if (signal == SIGILL) fail(LAUNCH_FAILED, nowhere_known, "illegal instruction: undefined behaviour, or a trap of the sanitizer");
  if (signal == SIGFPE) fail(LAUNCH_FAILED, nowhere_known, "division of an integer by zero");
  fail(ILLEGAL_ADDRESS, nowhere_known, "illegal address 0x%llx", (unsigned long long)address);
}

// Catches faults while it lives.
class FaultCatcher {
 public:
  FaultCatcher() {
    static char* stack = (char*)mmap(nullptr, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t own = {};
    own.ss_sp = stack;
    own.ss_size = 64 << 10;
    sigaltstack(&own, &stack_before);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    // The handler leaves by a switch of stacks, so the signal must not stay blocked.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < 4; i++) sigaction(faults[i], &action, &before[i]);
    launching = true;
  }
  ~FaultCatcher() {
    launching = false;
    for (int i = 0; i < 4; i++) sigaction(faults[i], &before[i], nullptr);
    sigaltstack(&stack_before, nullptr);
  }

 private:
  stack_t stack_before;
};

void run_block() {
  for (unsigned i = 0; i < block.count; i++) {
    Thread& thread = threads[i];
    thread.state = State::UNSTARTED;
    thread.groups = 0;
    thread.copies.clear();
  }
  started = fibers = ready_from = ready_count = 0;
  std::fill(std::begin(block.warps), std::end(block.warps), Warp{});
  reset_barrier();
  reset_named_barriers();
  reset_products();
  reset_mbarriers();
  reset_bulk_copies();
  memset(module->static_shared, 0xff, (size_t)(module->static_shared_end - module->static_shared));
  for (unsigned rank = 0; rank < block.cluster; rank++) memset(dynamic[rank], 0xff, shared_bytes);
  reset_proxy();
  leave(&launcher);
  if (failure) return;
  for (unsigned i = 0; i < block.count; i++)
    if (threads[i].state != State::EXITED) return explain_deadlock();
}

}  // namespace

void wait() {
  leave(&block.current->stack);
}

void wake(Thread& thread) {
  thread.state = State::RUNNING;
  ready[(ready_from + ready_count++) % 1024] = &thread;
}

void give_way() {
  if (ready_count == 0 && started == block.count) return;
  wake(*block.current);
  // Those that have not begun would never do so while others give way to each other.
  if (started < block.count) start_next(&block.current->stack);
  else wait();
}

void fail(int status, SpftPlace place, const char* format, ...) {
  failure = status;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(failure_text, sizeof failure_text, format, arguments);
  va_end(arguments);
  if (place.file && length < (int)sizeof failure_text)
    length += snprintf(failure_text + length, sizeof failure_text - (size_t)length, " at %s:%d", place.file, place.line);
  const SpftIndex at = block.current->index, of = *module->block;
  if (length < (int)sizeof failure_text)
    snprintf(failure_text + length, sizeof failure_text - (size_t)length, " (thread %u,%u,%u of block %u,%u,%u)", at.x, at.y, at.z, of.x, of.y, of.z);
  spft_switch(&nowhere, launcher);
  __builtin_unreachable();
}

bool is_shared_memory(const void* address, size_t bytes) {
  const unsigned char* from = (const unsigned char*)address;
  const unsigned char* shared = dynamic[block.current->rank];
  return (from >= shared && from + bytes <= shared + shared_bytes) ||
         (from >= module->static_shared && from + bytes <= module->static_shared_end);
}

std::array<SharedRange, 2> shared_ranges() { return shared_ranges_of(block.current->rank); }

std::array<SharedRange, 2> shared_ranges_of(unsigned rank) {
  const unsigned reserved = 1024, bytes = (unsigned)(module->static_shared_end - module->static_shared);
  return {{{module->static_shared, reserved, bytes}, {dynamic[rank], reserved + (bytes + 1023) / 1024 * 1024, shared_bytes}}};
}

unsigned shared_address(const void* pointer, SpftPlace place) {
  const unsigned char* at = (const unsigned char*)pointer;
  // What lies just behind may be asked for too.
  for (const SharedRange& range : shared_ranges())
    if (at >= range.at && at <= range.at + range.bytes) return range.address + (unsigned)(at - range.at);
  fail(ILLEGAL_ADDRESS, place, "an address in shared memory is asked for of what does not lie there");
}

void* shared_pointer(unsigned address, size_t bytes) { return shared_pointer_in(block.current->rank, address, bytes); }

void* shared_pointer_in(unsigned rank, unsigned address, size_t bytes) {
  for (const SharedRange& range : shared_ranges_of(rank))
    if (address >= range.address && address - range.address + bytes <= range.bytes) return range.at + (address - range.address);
  return nullptr;
}

int launch(const SpftModule& of_module, const SpftKernel& of_kernel, SpftIndex grid, SpftIndex size, unsigned bytes, void** of_parameters) {
  std::lock_guard<std::mutex> lock(one_launch);
  module = &of_module;
  kernel = &of_kernel;
  parameters = of_parameters;
  const unsigned cluster = (unsigned)kernel->cluster, each = size.x * size.y * size.z;
  block = Block{threads, each * cluster, cluster, threads, {}};
  // Behind the end of each block's lies a page that may not be touched.
  static char* region[MOST_BLOCKS] = {};
  const size_t most = 256 << 10;
  shared_bytes = bytes;
  for (unsigned rank = 0; rank < cluster; rank++) {
    if (!region[rank]) {
      region[rank] = (char*)mmap(nullptr, most + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      mprotect(region[rank] + most, 4096, PROT_NONE);
    }
    dynamic[rank] = (unsigned char*)region[rank] + most - (bytes + 127) / 128 * 128;
  }
  *module->runtime = &runtime;
  *module->block_size = size;
  *module->grid_size = grid;

  unsigned number = 0;
  for (unsigned rank = 0; rank < cluster; rank++)
    for (unsigned z = 0; z < size.z; z++)
      for (unsigned y = 0; y < size.y; y++)
        for (unsigned x = 0; x < size.x; x++, number++) {
          threads[number].index = {x, y, z};
          threads[number].number = number;
          threads[number].rank = rank;
        }
  // Another order brings to light what depends on it.
  std::iota(order, order + block.count, 0u);
  const char* wanted = getenv("SPFT_EMULATOR_ORDER");
  const bool reversed = wanted && strcmp(wanted, "reverse") == 0;
  if (reversed) std::reverse(order, order + block.count);
  if (wanted && strcmp(wanted, "shuffle") == 0) std::shuffle(order, order + block.count, std::mt19937(1));

  failure = 0;
  {
    FaultCatcher catcher;
    const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    for (uint64_t i = 0; i < blocks && !failure; i += cluster) {
      const uint64_t first = reversed ? blocks - cluster - i : i;
      for (unsigned rank = 0; rank < cluster; rank++) {
        const uint64_t at = first + rank;
        block_index[rank] = {(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y), (unsigned)(at / grid.x / grid.y)};
      }
      run_block();
    }
  }
  if (failure) complain("kernel %s: %s", kernel->name, failure_text);
  return failure;
}

}  // namespace emulator
