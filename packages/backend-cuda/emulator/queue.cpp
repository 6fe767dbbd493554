// Work that was asked for: done at once or, with SPFT_EMULATOR_ASYNC=1, when something waits for it, in the order of asking.
//
// There is one queue for all streams: one of the orders that a GPU might take, as long as streams wait for each other where they must.
#include <deque>

#include "driver.hpp"

namespace emulator {

namespace {

std::mutex mutex;
// Never destroyed, as graph.cpp's.
std::deque<Work>& queue = *new std::deque<Work>;
uint64_t asked, done;

// Does the first piece of work, if there is one.
bool do_one() {
  Work work;
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (queue.empty()) return false;
    work = std::move(queue.front());
    queue.pop_front();
    done++;
  }
  work();
  return true;
}

}  // namespace

int submit(uint64_t stream, Work work) {
  if (is_captured(stream)) {
    capture(stream, std::move(work));
    return SUCCESS;
  }
  if (!flag("SPFT_EMULATOR_ASYNC")) {
    finish_work();
    {
      std::lock_guard<std::mutex> lock(mutex);
      asked++;
      done++;
    }
    return work();
  }
  std::lock_guard<std::mutex> lock(mutex);
  queue.push_back(std::move(work));
  asked++;
  return SUCCESS;
}

uint64_t work_so_far() {
  std::lock_guard<std::mutex> lock(mutex);
  return asked;
}

bool work_is_done(uint64_t until) {
  std::lock_guard<std::mutex> lock(mutex);
  return done >= until;
}

void finish_work(uint64_t until) {
  while (!work_is_done(until) && do_one()) continue;
}

// Whoever asks again and again sees progress.
bool poll_work(uint64_t until) {
  if (work_is_done(until)) return true;
  do_one();
  return false;
}

void forget_work() {
  std::lock_guard<std::mutex> lock(mutex);
  done += queue.size();
  queue.clear();
}

}  // namespace emulator
