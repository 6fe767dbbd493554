// Graphs: a stream is captured, what was asked of it meanwhile is done again at every launch. One capture at a time. Streams that wait for an event of
// the capture are captured with it, and must be waited for before it ends. A launch does all in the order of asking, or, with SPFT_EMULATOR_ASYNC=late,
// what is of other streams than the first only when that waits for it.
#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "driver.hpp"

namespace {

struct Node {
  uint64_t stream;
  emulator::Work work;     // none where it waits
  emulator::Clock awaits;  // pieces of work of other streams
};
struct Nodes {
  uint64_t first = 0;  // the stream that the capture began with
  std::vector<Node> list;
};

// Does the work of the graph's first stream, and of the others what it waits for.
class Late {
 public:
  explicit Late(const Nodes& nodes) : nodes(nodes) {}

  int run(uint64_t stream, uint64_t until) {
    size_t& at = places[stream];
    while (at < nodes.list.size() && counts[stream] < until) {
      const Node& node = nodes.list[at++];
      if (node.stream != stream) continue;
      if (node.work) {
        counts[stream]++;
        if (int status = node.work()) return status;
        continue;
      }
      for (const auto& [other, position] : node.awaits)
        if (other != stream)
          if (int status = run(other, position)) return status;
    }
    return SUCCESS;
  }

 private:
  const Nodes& nodes;
  std::map<uint64_t, size_t> places;     // in the list, of each stream
  std::map<uint64_t, uint64_t> counts;   // pieces of work done
};

std::mutex mutex;
uint64_t captured_stream;  // that the capture began with; 0 for none: the default stream cannot be captured
std::map<uint64_t, emulator::Clock>& clocks = *new std::map<uint64_t, emulator::Clock>;  // of the streams that are captured
bool lost;
// Never destroyed: what they hold is code of other libraries too, which may be unloaded before this one when the process ends.
Nodes& nodes = *new Nodes;
auto& graphs = *new std::map<uint64_t, std::shared_ptr<Nodes>>;
auto& executables = *new std::map<uint64_t, std::shared_ptr<Nodes>>;

}  // namespace

namespace emulator {

bool is_captured(uint64_t stream) {
  std::lock_guard<std::mutex> lock(mutex);
  return captured_stream != 0 && clocks.count(stream) != 0;
}

bool any_captured() {
  std::lock_guard<std::mutex> lock(mutex);
  return captured_stream != 0;
}

void capture(uint64_t stream, Work work) {
  std::lock_guard<std::mutex> lock(mutex);
  if (!lost) nodes.list.push_back({stream, std::move(work), {}});
  clocks[stream][stream]++;
}

Clock capture_clock(uint64_t stream) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto at = clocks.find(stream);
  return at == clocks.end() ? Clock() : at->second;
}

void join_capture(uint64_t stream, const Clock& clock) {
  std::lock_guard<std::mutex> lock(mutex);
  Clock& own = clocks[stream];
  for (const auto& [other, position] : clock) own[other] = std::max(own[other], position);
  if (!lost) nodes.list.push_back({stream, nullptr, clock});
}

int refuse_in_capture(uint64_t, const char* function, const char* why) {
  std::lock_guard<std::mutex> lock(mutex);
  lost = true;
  nodes.list.clear();
  complain("%s: %s; the capture is lost", function, why);
  return CAPTURE_UNSUPPORTED;
}

void forget_graphs() {
  std::lock_guard<std::mutex> lock(mutex);
  captured_stream = 0;
  clocks.clear();
  lost = false;
  nodes.list.clear();
  graphs.clear();
  executables.clear();
}

}  // namespace emulator

using namespace emulator;

EXPORT int cuStreamBeginCapture_v2(uint64_t stream, int mode) {
  ENTER(cuStreamBeginCapture_v2);
  if (!is_stream(stream)) return INVALID_HANDLE;
  if (mode < 0 || mode > 2) return INVALID_VALUE;
  if (stream <= 2) return CAPTURE_UNSUPPORTED;
  std::lock_guard<std::mutex> lock(mutex);
  if (captured_stream != 0) return INVALID_VALUE;
  captured_stream = stream;
  nodes.first = stream;
  clocks[stream];
  lost = false;
  nodes.list.clear();
  return SUCCESS;
}
EXPORT int cuStreamIsCapturing(uint64_t stream, int* status) {
  ENTER(cuStreamIsCapturing);
  if (!is_stream(stream)) return INVALID_HANDLE;
  const bool captured = is_captured(stream);
  std::lock_guard<std::mutex> lock(mutex);
  *status = !captured ? 0 : lost ? 2 : 1;
  return SUCCESS;
}
EXPORT int cuStreamEndCapture(uint64_t stream, uint64_t* graph) {
  ENTER(cuStreamEndCapture);
  *graph = 0;
  if (!is_captured(stream)) return INVALID_VALUE;
  std::lock_guard<std::mutex> lock(mutex);
  if (stream != captured_stream) return INVALID_VALUE;
  const auto ended = std::move(clocks);
  clocks.clear();
  captured_stream = 0;
  if (lost) return CAPTURE_INVALIDATED;
  const Clock& origin = ended.at(stream);
  for (const auto& [other, clock] : ended) {
    const auto own = clock.find(other), seen = origin.find(other);
    if (own == clock.end() || (seen != origin.end() && seen->second >= own->second)) continue;
    nodes.list.clear();
    complain("cuStreamEndCapture: a stream that joined the capture was not waited for by the stream that it began with");
    return CAPTURE_UNJOINED;
  }
  const auto made = std::make_shared<Nodes>(std::move(nodes));
  nodes.list.clear();
  *graph = (uint64_t)made.get();
  graphs[*graph] = made;
  return SUCCESS;
}
EXPORT int cuGraphDestroy(uint64_t graph) {
  ENTER(cuGraphDestroy);
  std::lock_guard<std::mutex> lock(mutex);
  return graphs.erase(graph) == 0 ? INVALID_VALUE : SUCCESS;
}
EXPORT int cuGraphGetNodes(uint64_t graph, uint64_t* out, size_t* count) {
  ENTER(cuGraphGetNodes);
  std::lock_guard<std::mutex> lock(mutex);
  const auto at = graphs.find(graph);
  if (at == graphs.end() || out) return INVALID_VALUE;  // only how many there are
  *count = std::count_if(at->second->list.begin(), at->second->list.end(), [](const Node& node) { return (bool)node.work; });
  return SUCCESS;
}
EXPORT int cuGraphInstantiateWithFlags(uint64_t* executable, uint64_t graph, unsigned long long flags) {
  ENTER(cuGraphInstantiateWithFlags);
  if (flags != 0) return INVALID_VALUE;
  std::lock_guard<std::mutex> lock(mutex);
  const auto at = graphs.find(graph);
  if (at == graphs.end()) return INVALID_VALUE;
  const auto made = std::make_shared<Nodes>(*at->second);
  *executable = (uint64_t)made.get();
  executables[*executable] = made;
  return SUCCESS;
}
EXPORT int cuGraphExecDestroy(uint64_t executable) {
  ENTER(cuGraphExecDestroy);
  std::lock_guard<std::mutex> lock(mutex);
  return executables.erase(executable) == 0 ? INVALID_VALUE : SUCCESS;
}
EXPORT int cuGraphLaunch(uint64_t executable, uint64_t stream) {
  ENTER(cuGraphLaunch);
  if (!is_stream(stream)) return INVALID_HANDLE;
  std::shared_ptr<Nodes> launched;
  {
    std::lock_guard<std::mutex> lock(mutex);
    const auto at = executables.find(executable);
    if (at == executables.end()) return INVALID_VALUE;
    launched = at->second;
  }
  if (is_captured(stream)) return refuse_in_capture(stream, "cuGraphLaunch", "graphs in graphs are not emulated");
  return submit(stream, [launched] {
    if (works_late()) return Late(*launched).run(launched->first, UINT64_MAX);
    for (auto& node : launched->list)
      if (node.work)
        if (int status = node.work()) return status;
    return (int)SUCCESS;
  });
}
