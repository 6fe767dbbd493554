// What the parts of libcuda.so.1 know of each other, and what libcublasLt.so may ask of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "common.hpp"
#include "interface.h"

enum Status {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NOT_INITIALIZED = 3,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  NO_BINARY_FOR_GPU = 209,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  NOT_READY = 600,
  ILLEGAL_ADDRESS = 700,
  ASSERT = 710,
  MISALIGNED_ADDRESS = 716,
  LAUNCH_FAILED = 719,
  CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901,
  CAPTURE_UNJOINED = 904,
  CAPTURE_ISOLATION = 905,
  CAPTURED_EVENT = 907,
};

namespace emulator {

// ---- device.cpp ----
// What a call that needs a context returns before it does anything: not initialized, no context, or the error that broke the context.
__attribute__((visibility("default"))) int usable();
// Breaks CUDA for this process: every later call reports `status`.
int break_context(int status);
__attribute__((visibility("default"))) int capability();  // 90
int shared_memory_limit();
// The one that this process took a context of last.
__attribute__((visibility("default"))) int current_device();

// ---- memory.cpp ----
// Whether the bytes lie within one living allocation of the device.
__attribute__((visibility("default"))) bool is_device_memory(uint64_t address, size_t bytes);
// Looks behind every allocation for bytes that a kernel wrote past its end; breaks the context if there are any.
int check_overruns();
void release_memory();
void trim_pool();

bool is_pinned_memory(uint64_t address, size_t bytes);

// ---- queue.cpp ----
typedef std::function<int()> Work;
// What work that sets memory does: `bytes` of elements of a value; 0 bytes of other work.
struct Fill {
  uint64_t to = 0;
  unsigned value = 0, element_size = 1;
  size_t bytes = 0;
};
// What work gives that cannot be done yet, as it waits for another process: it stays where it is, and whoever waits for it waits on.
const int NOT_YET = -2;
// Does the work now, or lets it wait; its status, or 0 where it waits. What is asked of a stream that is captured becomes a part of the graph.
__attribute__((visibility("default"))) int submit(uint64_t stream, Work work, const Fill& fill = Fill());
// Whether streams go on only as far as something waits for them.
bool works_late();
// The number of the last piece of work of any stream.
uint64_t work_so_far();
// Whether a stream has done its work up to a number.
bool work_is_done(uint64_t stream, uint64_t until);
void finish_work();
// That of one stream, up to a number, and what it waits for.
void finish_work(uint64_t stream, uint64_t until);
// The same for work that waits for it: NOT_YET where it cannot be done now.
int await_work(uint64_t stream, uint64_t until);
// `work_is_done`, having done a piece of it where it was not.
bool poll_work(uint64_t stream, uint64_t until);
void forget_work();

// ---- stream.cpp ----
bool is_stream(uint64_t stream);

// ---- graph.cpp ----
bool is_captured(uint64_t stream);
bool any_captured();
// Adds to the graph of a stream that is captured.
void capture(uint64_t stream, Work work, const Fill& fill);
// What a captured stream has done so far, and what it has waited for, by stream.
typedef std::map<uint64_t, uint64_t> Clock;
Clock capture_clock(uint64_t stream);
// A stream waits for an event of the capture: from then on it is captured too.
void join_capture(uint64_t stream, const Clock& clock);
// What a call returns that a capture does not allow; the capture is lost by it.
int refuse_in_capture(uint64_t stream, const char* function, const char* why);
void forget_graphs();

// ---- launch.cpp ----
int launch(const SpftModule& module, const SpftKernel& kernel, SpftIndex grid, SpftIndex block, unsigned shared, void** parameters);

}  // namespace emulator

// The first line of every function of the driver; of those that wait for all work, ENTER_WAITING.
#define ENTER_UNINITIALIZED(name) \
  if (int status = emulator::injected(#name)) return status
#define ENTER(name)          \
  ENTER_UNINITIALIZED(name); \
  if (int status = emulator::usable()) return status
#define ENTER_WAITING(name)  \
  ENTER(name);               \
  if (emulator::any_captured()) return emulator::refuse_in_capture(0, #name, "waits for a stream that is captured"); \
  emulator::finish_work();   \
  if (int status = emulator::usable()) return status
