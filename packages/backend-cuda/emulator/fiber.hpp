// Switching between stacks within one thread of the host. swapcontext() would ask the kernel for the signal mask at every switch.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#if defined(__x86_64__) && !defined(SPFT_FIBER_UCONTEXT)

// Saves where this stack is in `*save` and goes on where `load` was saved.
extern "C" void spft_switch(void** save, void* load) __attribute__((visibility("hidden")));
asm(R"(
  .text
  .globl spft_switch
  .hidden spft_switch
  .type spft_switch, @function
spft_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size spft_switch, .-spft_switch
)");

// What to switch to for `entry`, which must not return, to start on the stack that ends at `top`.
inline void* spft_prepare(char* top, void (*entry)()) {
  void** words = (void**)((uintptr_t)top & ~(uintptr_t)15);
  *--words = nullptr;  // where a return address would be
  *--words = (void*)entry;
  for (int i = 0; i < 6; i++) *--words = nullptr;
  return words;
}

#else

#include <ucontext.h>

inline void spft_switch(void** save, void* load) {
  ucontext_t here;
  *save = &here;
  swapcontext(&here, (ucontext_t*)load);
}

inline void* spft_prepare(char* top, void (*entry)()) {
  ucontext_t* context = (ucontext_t*)((uintptr_t)(top - sizeof(ucontext_t)) & ~(uintptr_t)63);
  getcontext(context);
  context->uc_stack.ss_sp = top - (128 << 10);
  context->uc_stack.ss_size = (size_t)((char*)context - (char*)context->uc_stack.ss_sp);
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}

#endif

// Stacks, each behind a page that may not be touched; they are kept for the next block.
class FiberStacks {
 public:
  static constexpr size_t BYTES = 128 << 10;
  char* top(size_t index) {
    while (stacks.size() <= index) {
      const size_t page = (size_t)sysconf(_SC_PAGESIZE);
      char* base = (char*)mmap(nullptr, BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      mprotect(base, page, PROT_NONE);
      stacks.push_back(base + page);
    }
    // Not all at the same place of a page: what fibers have on top of their stacks would share a few lines of the processor's first cache.
    return stacks[index] + BYTES - index % 16 * 256;
  }
  bool guards(uint64_t address) const {
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    for (const char* stack : stacks)
      if (address < (uint64_t)stack && address + page >= (uint64_t)stack) return true;
    return false;
  }

 private:
  std::vector<char*> stacks;
};
