// Work that was asked for: done at once or, with SPFT_EMULATOR_ASYNC, when something waits for it.
//
// Each stream has a queue. With 1 all are emptied in the order of asking: one of the orders that a GPU might take. With `late` a stream goes on only as
// far as something waits for it, with `early` every stream but the first goes on at once, and takes along of the others only what it waits for: a wait
// that is missing between two streams shows in one of them.
#include <unistd.h>

#include <deque>

#include "driver.hpp"

namespace emulator {

namespace {

struct Item {
  uint64_t number;
  Work work;
};

std::mutex mutex;
// Never destroyed, as graph.cpp's.
auto& queues = *new std::map<uint64_t, std::deque<Item>>;
uint64_t asked;
uint64_t first_stream;

enum Mode { AT_ONCE, TOGETHER, LATE, EARLY };
Mode mode() {
  const char* value = getenv("SPFT_EMULATOR_ASYNC");
  if (!value || !*value || strcmp(value, "0") == 0) return AT_ONCE;
  return strcmp(value, "late") == 0 ? LATE : strcmp(value, "early") == 0 ? EARLY : TOGETHER;
}

// Does the first piece of work of a stream that is not above `until`, if there is one and it can be done.
bool do_one_of(uint64_t stream, uint64_t until) {
  Item item;
  {
    std::lock_guard<std::mutex> lock(mutex);
    auto& queue = queues[stream];
    if (queue.empty() || queue.front().number > until) return false;
    item = std::move(queue.front());
    queue.pop_front();
  }
  if (item.work() != NOT_YET) return true;
  std::lock_guard<std::mutex> lock(mutex);
  queues[stream].push_front(std::move(item));
  return false;
}

// The oldest piece of all streams.
bool do_oldest(uint64_t until) {
  uint64_t stream = 0, oldest = UINT64_MAX;
  {
    std::lock_guard<std::mutex> lock(mutex);
    for (const auto& [each, queue] : queues)
      if (!queue.empty() && queue.front().number < oldest) oldest = queue.front().number, stream = each;
  }
  return oldest <= until && oldest != UINT64_MAX && do_one_of(stream, until);
}

}  // namespace

int submit(uint64_t stream, Work work, const Fill& fill) {
  if (is_captured(stream)) {
    capture(stream, std::move(work), fill);
    return SUCCESS;
  }
  const Mode now = mode();
  if (now == AT_ONCE) {
    finish_work();
    {
      std::lock_guard<std::mutex> lock(mutex);
      asked++;
    }
    int status;
    while ((status = work()) == NOT_YET) usleep(1000);
    return status;
  }
  bool at_once;
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (first_stream == 0) first_stream = stream;
    queues[stream].push_back(Item{++asked, std::move(work)});
    at_once = now == EARLY && stream != first_stream;
  }
  if (at_once)
    while (do_one_of(stream, UINT64_MAX)) continue;
  return SUCCESS;
}

bool works_late() { return mode() == LATE; }

uint64_t work_so_far() {
  std::lock_guard<std::mutex> lock(mutex);
  return asked;
}

bool work_is_done(uint64_t stream, uint64_t until) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto at = queues.find(stream);
  return at == queues.end() || at->second.empty() || at->second.front().number > until;
}

bool any_work(uint64_t until) {
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [stream, queue] : queues)
    if (!queue.empty() && queue.front().number <= until) return true;
  return false;
}

void finish_work() {
  while (any_work(UINT64_MAX))
    if (!do_oldest(UINT64_MAX)) usleep(1000);
}

void finish_work(uint64_t stream, uint64_t until) {
  if (mode() == TOGETHER) {
    while (any_work(until))
      if (!do_oldest(until)) usleep(1000);
    return;
  }
  while (!work_is_done(stream, until))
    if (!do_one_of(stream, until)) usleep(1000);
}

int await_work(uint64_t stream, uint64_t until) {
  if (mode() == TOGETHER) return SUCCESS;
  while (!work_is_done(stream, until))
    if (!do_one_of(stream, until)) return NOT_YET;
  return SUCCESS;
}

// Whoever asks again and again sees progress.
bool poll_work(uint64_t stream, uint64_t until) {
  if (work_is_done(stream, until)) return true;
  if (mode() == TOGETHER) do_oldest(until);
  else do_one_of(stream, until);
  return false;
}

void forget_work() {
  std::lock_guard<std::mutex> lock(mutex);
  queues.clear();
  first_stream = 0;
}

}  // namespace emulator
