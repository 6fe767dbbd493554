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
  uint64_t id = 0;         // of work: its handle
  emulator::Fill fill = {};  // of a node that sets memory
  bool removed = false;    // does nothing any more, and is counted all the same
};
struct Nodes {
  uint64_t first = 0;  // the stream that the capture began with
  std::vector<Node> list;
  std::set<std::pair<uint64_t, uint64_t>> edges;    // that were added
  std::set<std::pair<uint64_t, uint64_t>> through;  // from each node before one that was taken out to each after it
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
        if (node.removed) continue;
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
uint64_t last_id = 0x6e0000000;

// The graph and place of a node that was not taken out; null where there is none.
Nodes* graph_of(uint64_t id, size_t& place) {
  for (auto& [handle, graph] : graphs)
    for (place = 0; place < graph->list.size(); place++)
      if (const Node& node = graph->list[place]; id != 0 && node.id == id && !node.removed) return graph.get();
  return nullptr;
}

// The node of a graph that is the `position`-th piece of work of a stream, or, where that was taken out, those before it.
void add_work(const Nodes& graph, uint64_t stream, uint64_t position, std::set<uint64_t>& to);

// What a node comes after: the work before it on its stream, and what that waited for meanwhile.
void add_before(const Nodes& graph, size_t place, std::set<uint64_t>& to) {
  const uint64_t stream = graph.list[place].stream;
  for (const auto& [from, next] : graph.edges)
    if (next == graph.list[place].id) to.insert(from);
  while (place-- > 0) {
    const Node& node = graph.list[place];
    if (node.stream != stream) continue;
    if (!node.work) {
      for (const auto& [other, position] : node.awaits)
        if (other != stream) add_work(graph, other, position, to);
      continue;
    }
    if (!node.removed) to.insert(node.id);
    break;
  }
}

void add_work(const Nodes& graph, uint64_t stream, uint64_t position, std::set<uint64_t>& to) {
  for (size_t place = 0; place < graph.list.size() && position > 0; place++) {
    const Node& node = graph.list[place];
    if (node.stream == stream && node.work && --position == 0 && !node.removed) to.insert(node.id);
  }
}

std::set<uint64_t> after(const Nodes& graph, uint64_t id) {
  std::set<uint64_t> found;
  for (size_t place = 0; place < graph.list.size(); place++) {
    std::set<uint64_t> before;
    if (!graph.list[place].work || graph.list[place].removed) continue;
    add_before(graph, place, before);
    if (before.count(id)) found.insert(graph.list[place].id);
  }
  return found;
}

// As the driver gives lists: how many there are, and so many of them as there is room for.
int give(const std::vector<uint64_t>& found, uint64_t* out, size_t* count) {
  if (!count) return INVALID_VALUE;
  if (out)
    for (size_t n = 0; n < *count; n++) out[n] = n < found.size() ? found[n] : 0;
  *count = out ? std::min(*count, found.size()) : found.size();
  return SUCCESS;
}

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

void capture(uint64_t stream, Work work, const Fill& fill) {
  std::lock_guard<std::mutex> lock(mutex);
  if (!lost) nodes.list.push_back({stream, std::move(work), {}, ++last_id, fill});
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
  if (!lost) nodes.list.push_back({stream, nullptr, clock, 0, {}});
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
  if (at == graphs.end()) return INVALID_VALUE;
  std::vector<uint64_t> found;
  for (const Node& node : at->second->list)
    if (node.work && !node.removed) found.push_back(node.id);
  return give(found, out, count);
}
// Of a node that sets memory 2, as the driver has it; of all others that of a kernel.
EXPORT int cuGraphNodeGetType(uint64_t node, int* type) {
  ENTER(cuGraphNodeGetType);
  std::lock_guard<std::mutex> lock(mutex);
  size_t place;
  const Nodes* graph = graph_of(node, place);
  if (!graph || !type) return INVALID_VALUE;
  *type = graph->list[place].fill.bytes > 0 ? 2 : 0;
  return SUCCESS;
}
struct MemsetNodeParams {
  uint64_t to;
  size_t pitch;
  unsigned value, element_size;
  size_t width, height;
};
EXPORT int cuGraphMemsetNodeGetParams(uint64_t node, MemsetNodeParams* to) {
  ENTER(cuGraphMemsetNodeGetParams);
  std::lock_guard<std::mutex> lock(mutex);
  size_t place;
  const Nodes* graph = graph_of(node, place);
  if (!graph || !to || graph->list[place].fill.bytes == 0) return INVALID_VALUE;
  const Fill& fill = graph->list[place].fill;
  *to = {fill.to, 0, fill.value, fill.element_size, fill.bytes / fill.element_size, 1};
  return SUCCESS;
}
EXPORT int cuGraphNodeGetDependencies(uint64_t node, uint64_t* out, size_t* count) {
  ENTER(cuGraphNodeGetDependencies);
  std::lock_guard<std::mutex> lock(mutex);
  size_t place;
  const Nodes* graph = graph_of(node, place);
  if (!graph) return INVALID_VALUE;
  std::set<uint64_t> found;
  add_before(*graph, place, found);
  return give({found.begin(), found.end()}, out, count);
}
EXPORT int cuGraphNodeGetDependentNodes(uint64_t node, uint64_t* out, size_t* count) {
  ENTER(cuGraphNodeGetDependentNodes);
  std::lock_guard<std::mutex> lock(mutex);
  size_t place;
  const Nodes* graph = graph_of(node, place);
  if (!graph) return INVALID_VALUE;
  const auto found = after(*graph, node);
  return give({found.begin(), found.end()}, out, count);
}
EXPORT int cuGraphAddDependencies(uint64_t graph, const uint64_t* from, const uint64_t* to, size_t count) {
  ENTER(cuGraphAddDependencies);
  std::lock_guard<std::mutex> lock(mutex);
  const auto at = graphs.find(graph);
  if (at == graphs.end() || (count > 0 && (!from || !to))) return INVALID_VALUE;
  for (size_t n = 0; n < count; n++) {
    size_t first, second;
    if (graph_of(from[n], first) != at->second.get() || graph_of(to[n], second) != at->second.get()) return INVALID_VALUE;
    std::set<uint64_t> before;
    add_before(*at->second, second, before);
    // The order of asking stays: what was asked for later cannot come first.
    if (first >= second || before.count(from[n])) return INVALID_VALUE;
    at->second->edges.insert({from[n], to[n]});
  }
  return SUCCESS;
}
EXPORT int cuGraphDestroyNode(uint64_t node) {
  ENTER(cuGraphDestroyNode);
  std::lock_guard<std::mutex> lock(mutex);
  size_t place;
  Nodes* graph = graph_of(node, place);
  if (!graph) return INVALID_VALUE;
  std::set<uint64_t> before;
  add_before(*graph, place, before);
  for (uint64_t from : before)
    for (uint64_t to : after(*graph, node)) graph->through.insert({from, to});
  graph->list[place].removed = true;
  return SUCCESS;
}
EXPORT int cuGraphInstantiateWithFlags(uint64_t* executable, uint64_t graph, unsigned long long flags) {
  ENTER(cuGraphInstantiateWithFlags);
  if (flags != 0) return INVALID_VALUE;
  std::lock_guard<std::mutex> lock(mutex);
  const auto at = graphs.find(graph);
  if (at == graphs.end()) return INVALID_VALUE;
  for (const auto& [from, to] : at->second->through) {
    size_t place;
    if (!graph_of(from, place) || graph_of(to, place) != at->second.get()) continue;
    std::set<uint64_t> before;
    add_before(*at->second, place, before);
    if (before.count(from)) continue;
    complain("cuGraphInstantiate: a node was taken out, and nothing says any more that what came after it comes after what was before it");
    return INVALID_VALUE;
  }
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
      if (node.work && !node.removed)
        if (int status = node.work()) return status;
    return (int)SUCCESS;
  });
}
