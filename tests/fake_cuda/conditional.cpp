// SPDX-License-Identifier: Apache-2.0
// Loops in captured graphs: a node whose body runs as long as its condition, which a kernel sets,
// is not 0. A node is called by its index in the graph that is being captured.
#include <algorithm>
#include <stdexcept>

#include "fake_cuda/state.h"

using fake_cuda::Call;
using fake_cuda::Node;
using fake_cuda::StreamOf;
using fake_cuda::TheState;

namespace {

CUgraphNode NodeOf(size_t index) { return reinterpret_cast<CUgraphNode>(index + 1); }
size_t IndexOf(CUgraphNode node) { return reinterpret_cast<size_t>(node) - 1; }

// A legal order, drawn anew.
void RunBody(const std::vector<Node>& nodes) {
  std::vector<bool> done(nodes.size());
  for (size_t left = nodes.size(); left > 0; --left) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const auto& after = nodes[i].after;
      if (!done[i] && std::all_of(after.begin(), after.end(), [&](size_t a) { return done[a]; })) {
        ready.push_back(i);
      }
    }
    const size_t next = ready[TheState().random() % ready.size()];
    if (nodes[next].run && TheState().sticky == CUDA_SUCCESS) nodes[next].run();
    done[next] = true;
  }
}

struct Loop {
  uint64_t handle = 0;
  CUgraph_st body;
  CUgraph bodies[1] = {&body};

  void Run() const {
    constexpr int kMostRounds = 100000;
    for (int round = 0; TheState().conditions.at(handle) != 0; ++round) {
      if (round == kMostRounds) throw std::runtime_error("a loop of a graph does not end");
      if (TheState().sticky != CUDA_SUCCESS) return;
      RunBody(body.nodes);
    }
  }
};

// What cuStreamGetCaptureInfo points to, until the thread asks again.
thread_local std::vector<CUgraphNode> dependencies;

}  // namespace

extern "C" {

CUresult cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t*,
                                CUgraph* graph, const CUgraphNode** after,
                                const CUgraphEdgeData** edges, size_t* count) {
  FAKE_CALL(kAny);
  CUstream s = StreamOf(stream);
  *status = s->capture == nullptr ? CU_STREAM_CAPTURE_STATUS_NONE : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  if (s->capture == nullptr) return CUDA_SUCCESS;
  if (s->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  dependencies.clear();
  for (const size_t n : s->tail) dependencies.push_back(NodeOf(n));
  *graph = s->capture->graph.get();
  *after = dependencies.data();
  if (edges != nullptr) *edges = nullptr;
  *count = dependencies.size();
  return CUDA_SUCCESS;
}
CUresult cuStreamUpdateCaptureDependencies(CUstream stream, CUgraphNode* after,
                                           const CUgraphEdgeData*, size_t count, unsigned flags) {
  FAKE_CALL(kNeedsContext);
  CUstream s = StreamOf(stream);
  if (s->capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES) s->tail.clear();
  for (size_t i = 0; i < count; ++i) s->tail.push_back(IndexOf(after[i]));
  return CUDA_SUCCESS;
}
CUresult cuStreamBeginCaptureToGraph(CUstream s, CUgraph graph, const CUgraphNode*,
                                     const CUgraphEdgeData*, size_t count,
                                     CUstreamCaptureMode mode) {
  FAKE_CALL(kNeedsContext);
  if (graph == nullptr || count != 0) return CUDA_ERROR_INVALID_VALUE;
  return fake_cuda::BeginCapture(s, mode, graph);
}
CUresult cuGraphConditionalHandleCreate(CUgraphConditionalHandle* handle, CUgraph graph, CUcontext,
                                        unsigned value, unsigned) {
  FAKE_CALL(kNeedsContext);
  if (graph == nullptr || graph->capture == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *handle = 4096 + call->conditions.size();
  call->conditions[*handle] = value;
  return CUDA_SUCCESS;
}
CUresult cuGraphAddNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* after,
                        const CUgraphEdgeData*, size_t count, CUgraphNodeParams* params) {
  FAKE_CALL(kNeedsContext);
  if (graph == nullptr || graph->capture == nullptr ||
      params->type != CU_GRAPH_NODE_TYPE_CONDITIONAL ||
      params->conditional.type != CU_GRAPH_COND_TYPE_WHILE || params->conditional.size != 1 ||
      !call->conditions.contains(params->conditional.handle)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto loop = std::make_shared<Loop>();
  loop->handle = params->conditional.handle;
  params->conditional.phGraph_out = loop->bodies;
  Node added{[loop] { loop->Run(); }, {}, {}};
  for (size_t i = 0; i < count; ++i) added.after.push_back(IndexOf(after[i]));
  graph->capture->nodes.push_back(std::move(added));
  *node = NodeOf(graph->capture->nodes.size() - 1);
  return CUDA_SUCCESS;
}

}  // extern "C"
