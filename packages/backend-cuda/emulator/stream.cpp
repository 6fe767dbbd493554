// Streams and events.
#include <time.h>

#include <memory>
#include <set>

#include "driver.hpp"

namespace {

struct Event {
  unsigned flags;
  uint64_t stream;      // where it was recorded last
  uint64_t work;        // what was asked for before it was recorded
  double milliseconds;  // when it was reached, or below 0
  bool captured;        // recorded last in a capture: it marks a place in a graph
  emulator::Clock clock;  // of a capture
};
const unsigned DISABLE_TIMING = 2;

std::mutex mutex;
std::set<uint64_t> streams;
std::map<uint64_t, std::shared_ptr<Event>> events;

std::shared_ptr<Event> find_event(uint64_t event) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto at = events.find(event);
  return at == events.end() ? nullptr : at->second;
}

}  // namespace

namespace emulator {

bool is_stream(uint64_t stream) {
  if (stream <= 2) return true;  // the default stream: 0, legacy 1, of the thread 2
  std::lock_guard<std::mutex> lock(mutex);
  return streams.count(stream) != 0;
}

}  // namespace emulator

using namespace emulator;

EXPORT int cuStreamCreate(uint64_t* stream, unsigned flags) {
  ENTER(cuStreamCreate);
  if (flags > 1) return INVALID_VALUE;
  std::lock_guard<std::mutex> lock(mutex);
  *stream = (uint64_t) new char;
  streams.insert(*stream);
  return SUCCESS;
}
EXPORT int cuStreamCreateWithPriority(uint64_t* stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
EXPORT int cuStreamDestroy_v2(uint64_t stream) {
  ENTER_WAITING(cuStreamDestroy_v2);
  std::lock_guard<std::mutex> lock(mutex);
  if (streams.erase(stream) == 0) return INVALID_HANDLE;
  delete (char*)stream;
  return SUCCESS;
}
EXPORT int cuStreamSynchronize(uint64_t stream) {
  ENTER(cuStreamSynchronize);
  if (!is_stream(stream)) return INVALID_HANDLE;
  if (is_captured(stream)) return refuse_in_capture(stream, "cuStreamSynchronize", "waits for a stream that is captured");
  finish_work(stream, UINT64_MAX);
  if (int status = usable()) return status;
  trim_pool();
  return check_overruns();
}
EXPORT int cuStreamQuery(uint64_t stream) {
  ENTER(cuStreamQuery);
  if (!is_stream(stream)) return INVALID_HANDLE;
  if (is_captured(stream)) return refuse_in_capture(stream, "cuStreamQuery", "asks a stream that is captured");
  return poll_work(stream, work_so_far()) ? usable() : NOT_READY;
}
EXPORT int cuStreamWaitEvent(uint64_t stream, uint64_t handle, unsigned) {
  ENTER(cuStreamWaitEvent);
  const auto event = find_event(handle);
  if (!event || !is_stream(stream)) return INVALID_HANDLE;
  if (event->captured) {
    if (!any_captured()) return CAPTURED_EVENT;
    join_capture(stream, event->clock);
    return SUCCESS;
  }
  if (event->work == 0) return SUCCESS;  // never recorded: nothing to wait for
  if (is_captured(stream)) return refuse_in_capture(stream, "cuStreamWaitEvent", "waits for an event from before the capture"), CAPTURE_ISOLATION;
  return submit(stream, [from = event->stream, until = event->work] { return await_work(from, until); });
}
EXPORT int cuCtxSynchronize() {
  ENTER_WAITING(cuCtxSynchronize);
  trim_pool();
  return check_overruns();
}
EXPORT int cuLaunchHostFunc(uint64_t stream, void (*function)(void*), void* data) {
  ENTER(cuLaunchHostFunc);
  if (!is_stream(stream)) return INVALID_HANDLE;
  if (!function) return INVALID_VALUE;
  return submit(stream, [=] {
    function(data);
    return SUCCESS;
  });
}

EXPORT int cuEventCreate(uint64_t* event, unsigned flags) {
  ENTER(cuEventCreate);
  if (flags > 7) return INVALID_VALUE;
  const auto made = std::make_shared<Event>(Event{flags, 0, 0, -1, false, {}});
  std::lock_guard<std::mutex> lock(mutex);
  *event = (uint64_t)made.get();
  events[*event] = made;
  return SUCCESS;
}
EXPORT int cuEventDestroy_v2(uint64_t event) {
  ENTER(cuEventDestroy_v2);
  std::lock_guard<std::mutex> lock(mutex);
  return events.erase(event) == 0 ? INVALID_HANDLE : SUCCESS;
}
EXPORT int cuEventRecord(uint64_t handle, uint64_t stream) {
  ENTER(cuEventRecord);
  const auto event = find_event(handle);
  if (!event || !is_stream(stream)) return INVALID_HANDLE;
  event->milliseconds = -1;
  event->captured = is_captured(stream);
  if (event->captured) {
    event->clock = capture_clock(stream);
    return SUCCESS;
  }
  event->stream = stream;
  event->work = work_so_far() + 1;
  return submit(stream, [=] {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->milliseconds = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
    return SUCCESS;
  });
}
EXPORT int cuEventSynchronize(uint64_t handle) {
  ENTER(cuEventSynchronize);
  const auto event = find_event(handle);
  if (!event) return INVALID_HANDLE;
  if (event->captured) return refuse_in_capture(0, "cuEventSynchronize", "waits for an event of a capture"), CAPTURED_EVENT;
  finish_work(event->stream, event->work);
  return usable();
}
EXPORT int cuEventQuery(uint64_t handle) {
  ENTER(cuEventQuery);
  const auto event = find_event(handle);
  if (!event) return INVALID_HANDLE;
  if (event->captured) return refuse_in_capture(0, "cuEventQuery", "asks an event of a capture"), CAPTURED_EVENT;
  return poll_work(event->stream, event->work) ? usable() : NOT_READY;
}
EXPORT int cuEventElapsedTime(float* milliseconds, uint64_t start, uint64_t end) {
  ENTER(cuEventElapsedTime);
  const auto first = find_event(start), last = find_event(end);
  if (!first || !last || (first->flags | last->flags) & DISABLE_TIMING || first->work == 0 || last->work == 0) return INVALID_HANDLE;
  if (first->milliseconds < 0 || last->milliseconds < 0) return NOT_READY;
  *milliseconds = (float)(last->milliseconds - first->milliseconds);
  return SUCCESS;
}
EXPORT int cuEventElapsedTime_v2(float* milliseconds, uint64_t start, uint64_t end) { return cuEventElapsedTime(milliseconds, start, end); }
