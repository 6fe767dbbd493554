// A small libnccl.so.2: collectives between processes of this machine, through shared memory, on the streams of the fake driver.
//
// Ranks call the same operations in the same order; where they do not, a real NCCL hangs or mixes them up, and this one says so and fails. A rank that
// died shows as ncclRemoteError to those that wait for it; with SPFT_EMULATOR_NCCL_HANGS=1 they wait until they abort, as they do on NVLink.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "driver.hpp"

namespace {

enum Result { OK = 0, CUDA_FAILED = 1, SYSTEM = 2, ARGUMENT = 4, USAGE = 5, REMOTE = 6, IN_PROGRESS = 7 };
enum Type { INT8 = 0, UINT8 = 1, FLOAT32 = 7, BFLOAT16 = 9 };
enum Operation { SUM = 0, MAX = 2 };
enum Kind { ALL_REDUCE = 1, ALL_GATHER, BROADCAST, REDUCE_SCATTER };

const int VERSION = 22707;
const int MOST_RANKS = 64;
const size_t CHUNK = 1 << 20;
const unsigned CONFIG_MAGIC = 0xcafebeef;

struct UniqueId {
  char internal[128];
};

// The beginning of ncclConfig_t, which later versions have added to.
struct Config {
  size_t size;
  unsigned magic, version;
  int blocking;
};

struct Call {
  int kind, type, operation, root;
  uint64_t count;
  bool operator==(const Call& other) const {
    return kind == other.kind && type == other.type && operation == other.operation && root == other.root && count == other.count;
  }
};

// What the processes share; the system gives it as zeros.
struct Shared {
  std::atomic<int> joined, arrived, generation, failed;
  int pids[MOST_RANKS], devices[MOST_RANKS];
  Call calls[MOST_RANKS];
};

struct Communicator {
  int rank, ranks;
  bool blocking;
  Shared* shared = nullptr;
  size_t bytes = 0;
  std::atomic<int> error{OK};
  std::atomic<bool> aborted{false};
  std::atomic<bool> stuck{false};  // with SPFT_EMULATOR_NCCL_HANGS, in a kernel that a rank that died has no part in
  std::atomic<int> unfinished{0};  // polls until a call is over
  std::thread starting;
  char* chunk(int of) const { return (char*)shared + sizeof(Shared) + (size_t)of * CHUNK; }
  ~Communicator() {
    if (starting.joinable()) starting.join();
    if (shared) munmap(shared, bytes);
  }
};

std::mutex mutex;
auto& communicators = *new std::map<uint64_t, std::shared_ptr<Communicator>>;

std::shared_ptr<Communicator> find(uint64_t handle) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto at = communicators.find(handle);
  return at == communicators.end() ? nullptr : at->second;
}

bool any_stuck() {
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [handle, c] : communicators)
    if (c->stuck) return true;
  return false;
}

void pause() {
  const timespec some = {0, 50000};
  nanosleep(&some, nullptr);
}

bool somebody_died(const Communicator& c) {
  for (int rank = 0; rank < c.ranks; rank++)
    if (c.shared->pids[rank] && kill(c.shared->pids[rank], 0) != 0 && errno == ESRCH) {
      return true;
    }
  return false;
}

// False where this rank gave up or another failed; the communicator is of no use then.
bool wait_for(Communicator& c, bool (*is_over)(Shared&, int), int value) {
  for (int round = 0; !is_over(*c.shared, value); round++) {
    if (c.aborted || c.error) return false;
    if (c.shared->failed) {
      c.error = c.shared->failed.load();
      return false;
    }
    if (round > 20) pause();
    else std::this_thread::yield();
    if (round % 2000 == 1999 && !emulator::flag("SPFT_EMULATOR_NCCL_HANGS") && somebody_died(c)) {
      emulator::complain("nccl: a rank that is waited for died");
      c.error = REMOTE;
      return false;
    }
  }
  return true;
}

bool barrier(Communicator& c) {
  Shared& s = *c.shared;
  const int generation = s.generation;
  if (++s.arrived == c.ranks) {
    s.arrived = 0;
    s.generation++;
    return true;
  }
  return wait_for(c, [](Shared& s, int before) { return s.generation != before; }, generation);
}

size_t bytes_of(int type) { return type == FLOAT32 ? 4 : type == BFLOAT16 ? 2 : 1; }

float widen(uint16_t bits) {
  const uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}
uint16_t narrow(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (value != value) return 0x7fc0;
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// All ranks' chunks into `to`, in the order of ranks.
void reduce(const Communicator& c, char* to, size_t bytes, const Call& call) {
  const auto join = [&](float a, float b) { return call.operation == MAX ? (a < b || a != a ? b : a) : a + b; };
  const size_t count = bytes / bytes_of(call.type);
  for (size_t i = 0; i < count; i++) {
    if (call.type == FLOAT32) {
      float sum = ((float*)c.chunk(0))[i];
      for (int rank = 1; rank < c.ranks; rank++) sum = join(sum, ((float*)c.chunk(rank))[i]);
      ((float*)to)[i] = sum;
    } else {
      float sum = widen(((uint16_t*)c.chunk(0))[i]);
      for (int rank = 1; rank < c.ranks; rank++) sum = join(sum, widen(((uint16_t*)c.chunk(rank))[i]));
      ((uint16_t*)to)[i] = narrow(sum);
    }
  }
}

const char* name_of(int kind) {
  const char* names[] = {"?", "ncclAllReduce", "ncclAllGather", "ncclBroadcast", "ncclReduceScatter"};
  return names[kind];
}

void perform_together(Communicator& c, const Call& call, const char* from, char* to) {
  c.shared->calls[c.rank] = call;
  if (!barrier(c)) return;
  for (int rank = 0; rank < c.ranks; rank++)
    if (!(c.shared->calls[rank] == call)) {
      const Call& other = c.shared->calls[rank];
      emulator::complain("nccl: rank %d calls %s of %llu numbers of type %d where rank %d calls %s of %llu of type %d", c.rank, name_of(call.kind),
                         (unsigned long long)call.count, call.type, rank, name_of(other.kind), (unsigned long long)other.count, other.type);
      c.shared->failed = USAGE;
      c.error = USAGE;
      return;
    }
  if (!barrier(c)) return;
  const size_t part = call.count * bytes_of(call.type);  // of a rank where ranks have parts
  const int targets = call.kind == REDUCE_SCATTER ? c.ranks : 1;
  // Where a rank gives its part from the place where it is to lie, it is read before it is written.
  for (int target = 0; target < targets; target++)
    for (size_t at = 0; at < part; at += CHUNK) {
      const size_t bytes = std::min(CHUNK, part - at);
      if (call.kind != BROADCAST || call.root == c.rank) memcpy(c.chunk(c.rank), from + (size_t)target * part + at, bytes);
      if (!barrier(c)) return;
      if (call.kind == ALL_GATHER)
        for (int rank = 0; rank < c.ranks; rank++) memcpy(to + (size_t)rank * part + at, c.chunk(rank), bytes);
      else if (call.kind == BROADCAST) memcpy(to + at, c.chunk(call.root), bytes);
      else if (call.kind == ALL_REDUCE || target == c.rank) reduce(c, to + at, bytes, call);
      if (!barrier(c)) return;
    }
}

int perform(Communicator& c, const Call& call, const char* from, char* to) {
  if (c.error || c.aborted) return 0;
  if (emulator::flag("SPFT_EMULATOR_NCCL_HANGS") && somebody_died(c)) {
    c.stuck = true;
    return emulator::NOT_YET;
  }
  perform_together(c, call, from, to);
  return 0;
}

struct Pending {
  std::shared_ptr<Communicator> communicator;
  Call call;
  uint64_t from, to, stream;
};
// As the driver does, whose end waits for kernels that run.
__attribute__((destructor)) void wait_at_the_end() {
  while (any_stuck()) pause();
}

struct Range {
  uint64_t begin, end;
};
Range read(const Pending& p) {
  const size_t part = p.call.count * bytes_of(p.call.type);
  if (p.call.kind == BROADCAST && p.call.root != p.communicator->rank) return {0, 0};
  return {p.from, p.from + (p.call.kind == REDUCE_SCATTER ? part * (size_t)p.communicator->ranks : part)};
}
Range written(const Pending& p) {
  const size_t part = p.call.count * bytes_of(p.call.type);
  return {p.to, p.to + (p.call.kind == ALL_GATHER ? part * (size_t)p.communicator->ranks : part)};
}
bool overlap(Range a, Range b) { return a.begin < b.end && b.begin < a.end; }

thread_local int depth = 0;
thread_local std::vector<Pending> pending;

int launch(const Pending& p) {
  const int status = emulator::submit(p.stream, [p] {
    return perform(*p.communicator, p.call, (const char*)p.from, (char*)p.to);
  });
  return status ? CUDA_FAILED : OK;
}

int ended(Communicator& c) {
  if (c.blocking) return c.error;
  c.unfinished = 2;
  return IN_PROGRESS;
}

int ask(uint64_t handle, const Call& call, uint64_t from, uint64_t to, uint64_t stream) {
  const char* name = name_of(call.kind);
  const auto c = find(handle);
  if (!c) return ARGUMENT;
  if (c->error) return c->error;
  if (c->unfinished > 0) {
    emulator::complain("%s: the call before is not over; ncclCommGetAsyncError says when it is", name);
    return USAGE;
  }
  const bool reduces = call.kind == ALL_REDUCE || call.kind == REDUCE_SCATTER;
  const bool known = call.type == INT8 || call.type == UINT8 || call.type == FLOAT32 || call.type == BFLOAT16;
  if (!known || (reduces && (call.type < FLOAT32 || (call.operation != SUM && call.operation != MAX)))) {
    emulator::complain("%s: type %d with operation %d is not emulated", name, call.type, call.operation);
    return ARGUMENT;
  }
  if (call.root < 0 || call.root >= c->ranks) return ARGUMENT;
  const size_t part = call.count * bytes_of(call.type), all = part * (size_t)c->ranks;
  const bool gives = call.kind != BROADCAST || call.root == c->rank;
  if (part && ((gives && !emulator::is_device_memory(from, call.kind == REDUCE_SCATTER ? all : part)) ||
               !emulator::is_device_memory(to, call.kind == ALL_GATHER ? all : part))) {
    emulator::complain("%s: %zu bytes do not lie within an allocation of the device", name, part);
    return ARGUMENT;
  }
  const Pending p{c, call, from, to, stream};
  if (depth > 0) {
    pending.push_back(p);
    return OK;
  }
  if (int status = launch(p)) return status;
  return ended(*c);
}

int start(const std::shared_ptr<Communicator>& c, const std::string& name) {
  const int file = shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
  c->bytes = sizeof(Shared) + (size_t)c->ranks * CHUNK;
  if (file < 0 || ftruncate(file, (off_t)c->bytes) != 0) return SYSTEM;
  void* memory = mmap(nullptr, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return SYSTEM;
  c->shared = (Shared*)memory;
  c->shared->pids[c->rank] = getpid();
  c->shared->devices[c->rank] = emulator::current_device();
  c->shared->joined++;
  const bool all = wait_for(*c, [](Shared& s, int ranks) { return s.joined >= ranks; }, c->ranks);
  if (c->rank == 0) shm_unlink(name.c_str());
  if (!all) return c->error ? c->error.load() : SYSTEM;
  for (int rank = 0; rank < c->ranks; rank++)
    if (rank != c->rank && c->shared->devices[rank] == c->shared->devices[c->rank]) {
      emulator::complain("nccl: duplicate GPU: ranks %d and %d are both on device %d", c->rank, rank, c->shared->devices[rank]);
      return USAGE;
    }
  return OK;
}

}  // namespace

#define ENTER_NCCL(name) \
  if (int status = emulator::injected(#name)) return status

EXPORT int ncclGetVersion(int* version) {
  ENTER_NCCL(ncclGetVersion);
  const char* wanted = getenv("SPFT_EMULATOR_NCCL_VERSION");
  *version = wanted ? atoi(wanted) : VERSION;
  return OK;
}

EXPORT const char* ncclGetErrorString(int result) {
  switch (result) {
    case OK: return "no error";
    case CUDA_FAILED: return "unhandled cuda error";
    case SYSTEM: return "unhandled system error";
    case ARGUMENT: return "invalid argument";
    case USAGE: return "invalid usage";
    case REMOTE: return "remote process exited or there was a network error";
    case IN_PROGRESS: return "NCCL operation in progress";
    default: return "unknown result code";
  }
}
EXPORT const char* ncclGetLastError(uint64_t) { return ""; }

EXPORT int ncclGetUniqueId(UniqueId* id) {
  ENTER_NCCL(ncclGetUniqueId);
  static std::atomic<int> made{0};
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  memset(id, 0, sizeof *id);
  snprintf(id->internal, sizeof id->internal, "/spft-nccl-%d-%d-%lld%09ld", getpid(), made++, (long long)now.tv_sec, now.tv_nsec);
  return OK;
}

EXPORT int ncclCommInitRankConfig(uint64_t* handle, int ranks, UniqueId id, int rank, const Config* config) {
  ENTER_NCCL(ncclCommInitRankConfig);
  if (emulator::usable()) return CUDA_FAILED;
  if (!handle || ranks < 1 || ranks > MOST_RANKS || rank < 0 || rank >= ranks || strncmp(id.internal, "/spft-nccl-", 11) != 0) return ARGUMENT;
  if (config && (config->magic != CONFIG_MAGIC || config->size < sizeof(Config))) return ARGUMENT;
  const auto c = std::make_shared<Communicator>();
  c->rank = rank;
  c->ranks = ranks;
  c->blocking = !config || config->blocking != 0;
  {
    std::lock_guard<std::mutex> lock(mutex);
    *handle = (uint64_t)c.get();
    communicators[*handle] = c;
  }
  const std::string name = id.internal;
  if (c->blocking) {
    c->error = start(c, name);
    return c->error;
  }
  c->unfinished = INT32_MAX;
  c->starting = std::thread([c = c.get(), name] {
    // The communicator waits for this thread before it ends.
    const int status = start(std::shared_ptr<Communicator>(c, [](Communicator*) {}), name);
    if (status) c->error = status;
    c->unfinished = 0;
  });
  return IN_PROGRESS;
}

EXPORT int ncclCommGetAsyncError(uint64_t handle, int* state) {
  ENTER_NCCL(ncclCommGetAsyncError);
  const auto c = find(handle);
  if (!c) return ARGUMENT;
  if (c->error) *state = c->error;
  else if (c->unfinished == 0) *state = OK;
  else {
    if (c->unfinished != INT32_MAX) c->unfinished--;
    *state = IN_PROGRESS;
  }
  return OK;
}

EXPORT int ncclCommCount(uint64_t handle, int* count) {
  const auto c = find(handle);
  if (!c) return ARGUMENT;
  *count = c->ranks;
  return OK;
}

EXPORT int ncclCommAbort(uint64_t handle) {
  ENTER_NCCL(ncclCommAbort);
  const auto c = find(handle);
  if (!c) return ARGUMENT;
  c->aborted = true;
  std::lock_guard<std::mutex> lock(mutex);
  communicators.erase(handle);
  return OK;
}
EXPORT int ncclCommFinalize(uint64_t handle) { return find(handle) ? OK : ARGUMENT; }
EXPORT int ncclCommDestroy(uint64_t handle) {
  ENTER_NCCL(ncclCommDestroy);
  std::lock_guard<std::mutex> lock(mutex);
  return communicators.erase(handle) == 0 ? ARGUMENT : OK;
}

EXPORT int ncclGroupStart() {
  depth++;
  return OK;
}
EXPORT int ncclGroupEnd() {
  ENTER_NCCL(ncclGroupEnd);
  if (depth == 0) return USAGE;
  if (--depth > 0) return OK;
  const auto all = std::move(pending);
  pending.clear();
  // They are done in whatever order.
  for (size_t i = 0; i < all.size(); i++)
    for (size_t j = 0; j < all.size(); j++)
      if (i != j && (overlap(written(all[i]), written(all[j])) || overlap(written(all[i]), read(all[j])))) {
        emulator::complain("ncclGroupEnd: %s touches what %s of the same group writes", name_of(all[j].call.kind), name_of(all[i].call.kind));
        return USAGE;
      }
  std::set<Communicator*> used;
  for (const auto& each : all) {
    if (int status = launch(each)) return status;
    used.insert(each.communicator.get());
  }
  int result = OK;
  for (Communicator* c : used)
    if (int status = ended(*c)) result = status;
  return result;
}

EXPORT int ncclAllReduce(uint64_t from, uint64_t to, size_t count, int type, int operation, uint64_t communicator, uint64_t stream) {
  ENTER_NCCL(ncclAllReduce);
  return ask(communicator, Call{ALL_REDUCE, type, operation, 0, count}, from, to, stream);
}
EXPORT int ncclAllGather(uint64_t from, uint64_t to, size_t count, int type, uint64_t communicator, uint64_t stream) {
  ENTER_NCCL(ncclAllGather);
  return ask(communicator, Call{ALL_GATHER, type, SUM, 0, count}, from, to, stream);
}
EXPORT int ncclBroadcast(uint64_t from, uint64_t to, size_t count, int type, int root, uint64_t communicator, uint64_t stream) {
  ENTER_NCCL(ncclBroadcast);
  return ask(communicator, Call{BROADCAST, type, SUM, root, count}, from, to, stream);
}
EXPORT int ncclReduceScatter(uint64_t from, uint64_t to, size_t count, int type, int operation, uint64_t communicator, uint64_t stream) {
  ENTER_NCCL(ncclReduceScatter);
  return ask(communicator, Call{REDUCE_SCATTER, type, operation, 0, count}, from, to, stream);
}
