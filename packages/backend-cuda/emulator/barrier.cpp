// __syncthreads and its kin: a barrier of all threads of a block.
#include "block.hpp"
#include "driver.hpp"

namespace emulator {

namespace {

unsigned arrived, in_cluster;
int any, all, count;
SpftBarrier kind_here;
SpftPlace first;

struct {
  int arrived, threads;
  SpftPlace first;
} named[8][16];  // of each block of a cluster

}  // namespace

void reset_barrier() {
  arrived = 0;
  any = count = 0;
  all = 1;
}

void reset_named_barriers() {
  for (auto& of_block : named)
    for (auto& barrier : of_block) barrier.arrived = 0;
  in_cluster = 0;
}

// On a GPU threads that have exited are not waited for. Here they are, so that a barrier behind a thread's early return is found.
int barrier(SpftBarrier kind, int predicate, SpftPlace place) {
  Thread& thread = *block.current;
  if (block.cluster > 1) fail(LAUNCH_FAILED, place, "__syncthreads of a block of a cluster is not emulated");
  if (arrived == 0) {
    kind_here = kind;
    first = place;
  } else if (kind != kind_here) {
    fail(LAUNCH_FAILED, place, "the threads of the block are at two different barriers: %s:%d and", first.file, first.line);
  }
  arrived++;
  any |= predicate != 0;
  all &= predicate != 0;
  count += predicate != 0;
  if (arrived < block.count) {
    thread.state = State::AT_BARRIER;
    thread.barrier = kind;
    thread.place = place;
    wait();
    return thread.result;
  }
  const int result = kind == SPFT_BARRIER_OR ? any : kind == SPFT_BARRIER_AND ? all : count;
  reset_barrier();
  for (unsigned i = 0; i < block.count; i++)
    if (block.threads[i].state == State::AT_BARRIER) {
      block.threads[i].result = result;
      wake(block.threads[i]);
    }
  return result;
}

void cluster_barrier(SpftPlace place) {
  Thread& self = *block.current;
  if (++in_cluster < block.count) {
    self.state = State::AT_CLUSTER;
    self.what = "the barrier of the cluster";
    self.place = place;
    return wait();
  }
  in_cluster = 0;
  for (unsigned i = 0; i < block.count; i++)
    if (block.threads[i].state == State::AT_CLUSTER) wake(block.threads[i]);
}

void named_barrier(int number, int threads, SpftPlace place) {
  if (number < 1 || number > 15) fail(LAUNCH_FAILED, place, "bar.sync: there is no barrier %d beside that of __syncthreads, 0", number);
  if (threads < 32 || threads % 32 != 0 || (unsigned)threads > block.count / block.cluster)
    fail(LAUNCH_FAILED, place, "bar.sync: %d threads are not whole warps of the block", threads);
  Thread& self = *block.current;
  auto& barrier = named[self.rank][number];
  if (barrier.arrived == 0) {
    barrier.threads = threads;
    barrier.first = place;
  } else if (barrier.threads != threads) {
    fail(LAUNCH_FAILED, place, "bar.sync: barrier %d is for %d threads at %s:%d, and for %d", number, barrier.threads, barrier.first.file, barrier.first.line, threads);
  }
  if (++barrier.arrived < threads) {
    self.state = State::AT_NAMED_BARRIER;
    self.named = number;
    self.place = place;
    return wait();
  }
  barrier.arrived = 0;
  for (unsigned i = 0; i < block.count; i++) {
    Thread& other = block.threads[i];
    if (other.state == State::AT_NAMED_BARRIER && other.named == number && other.rank == self.rank) wake(other);
  }
}

}  // namespace emulator
