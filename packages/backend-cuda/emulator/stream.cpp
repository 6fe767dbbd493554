// Streams and events. Everything is done when its call returns, so there is nothing to wait for.
#include <time.h>

#include <set>

#include "driver.hpp"

namespace {

struct Event {
  unsigned flags;
  double milliseconds;  // when it was recorded, or below 0
};
const unsigned DISABLE_TIMING = 2;

std::mutex mutex;
std::set<uint64_t> streams, events;

bool is_event(uint64_t event) {
  std::lock_guard<std::mutex> lock(mutex);
  return events.count(event) != 0;
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
EXPORT int cuStreamDestroy_v2(uint64_t stream) {
  ENTER(cuStreamDestroy_v2);
  std::lock_guard<std::mutex> lock(mutex);
  if (streams.erase(stream) == 0) return INVALID_HANDLE;
  delete (char*)stream;
  return SUCCESS;
}
EXPORT int cuStreamSynchronize(uint64_t stream) {
  ENTER(cuStreamSynchronize);
  if (!is_stream(stream)) return INVALID_HANDLE;
  trim_pool();
  return check_overruns();
}
EXPORT int cuStreamQuery(uint64_t stream) {
  ENTER(cuStreamQuery);
  return is_stream(stream) ? SUCCESS : INVALID_HANDLE;
}
EXPORT int cuStreamWaitEvent(uint64_t stream, uint64_t event, unsigned) {
  ENTER(cuStreamWaitEvent);
  return is_stream(stream) && is_event(event) ? SUCCESS : INVALID_HANDLE;
}
EXPORT int cuCtxSynchronize() {
  ENTER(cuCtxSynchronize);
  trim_pool();
  return check_overruns();
}
EXPORT int cuLaunchHostFunc(uint64_t stream, void (*function)(void*), void* data) {
  ENTER(cuLaunchHostFunc);
  if (!is_stream(stream)) return INVALID_HANDLE;
  if (!function) return INVALID_VALUE;
  function(data);
  return SUCCESS;
}

EXPORT int cuEventCreate(uint64_t* event, unsigned flags) {
  ENTER(cuEventCreate);
  if (flags > 7) return INVALID_VALUE;
  std::lock_guard<std::mutex> lock(mutex);
  *event = (uint64_t) new Event{flags, -1};
  events.insert(*event);
  return SUCCESS;
}
EXPORT int cuEventDestroy_v2(uint64_t event) {
  ENTER(cuEventDestroy_v2);
  std::lock_guard<std::mutex> lock(mutex);
  if (events.erase(event) == 0) return INVALID_HANDLE;
  delete (Event*)event;
  return SUCCESS;
}
EXPORT int cuEventRecord(uint64_t event, uint64_t stream) {
  ENTER(cuEventRecord);
  if (!is_event(event) || !is_stream(stream)) return INVALID_HANDLE;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  ((Event*)event)->milliseconds = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
  return SUCCESS;
}
EXPORT int cuEventSynchronize(uint64_t event) {
  ENTER(cuEventSynchronize);
  return is_event(event) ? SUCCESS : INVALID_HANDLE;
}
EXPORT int cuEventQuery(uint64_t event) {
  ENTER(cuEventQuery);
  return is_event(event) ? SUCCESS : INVALID_HANDLE;
}
EXPORT int cuEventElapsedTime(float* milliseconds, uint64_t start, uint64_t end) {
  ENTER(cuEventElapsedTime);
  if (!is_event(start) || !is_event(end)) return INVALID_HANDLE;
  const Event &first = *(Event*)start, &last = *(Event*)end;
  if ((first.flags | last.flags) & DISABLE_TIMING || first.milliseconds < 0 || last.milliseconds < 0) return INVALID_HANDLE;
  *milliseconds = (float)(last.milliseconds - first.milliseconds);
  return SUCCESS;
}
EXPORT int cuEventElapsedTime_v2(float* milliseconds, uint64_t start, uint64_t end) { return cuEventElapsedTime(milliseconds, start, end); }
