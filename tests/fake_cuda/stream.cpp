// SPDX-License-Identifier: Apache-2.0
// Streams are queues of work that waits for a synchronisation; events are points in them. While a
// stream is captured its work becomes nodes of a graph, under the rules of CUDA's stream capture.
#include <algorithm>
#include <set>

#include "fake_cuda/state.h"

using fake_cuda::Call;
using fake_cuda::Capture;
using fake_cuda::Node;
using fake_cuda::OpPtr;
using fake_cuda::State;
using fake_cuda::StreamOf;
using fake_cuda::TheState;

namespace fake_cuda {
namespace {

void AddAll(std::vector<size_t>* into, const std::vector<size_t>& from) {
  for (const size_t n : from) {
    if (std::find(into->begin(), into->end(), n) == into->end()) into->push_back(n);
  }
}

void EndCaptureOf(const std::shared_ptr<Capture>& capture) {
  for (CUstream s : capture->streams) {
    s->capture = nullptr;
    s->tail.clear();
  }
  std::erase(TheState().captures, capture);
}

// Whether all work of every stream comes before the end of the first one.
bool Joined(const Capture& capture) {
  std::set<size_t> reached;
  std::vector<size_t> stack = capture.origin->tail;
  while (!stack.empty()) {
    const size_t n = stack.back();
    stack.pop_back();
    if (!reached.insert(n).second) continue;
    for (const size_t b : capture.nodes[n].after) stack.push_back(b);
  }
  for (CUstream s : capture.streams) {
    for (const size_t n : s->tail) {
      if (!reached.contains(n)) return false;
    }
  }
  return true;
}

CUresult AddNodes(CUstream s, const std::vector<Node>& nodes) {
  Capture& c = *s->capture;
  if (c.invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  const size_t first = c.nodes.size();
  std::vector<bool> last(nodes.size(), true);
  for (const Node& n : nodes) {
    Node copy{n.run, n.gate, {}};
    for (const size_t b : n.after) {
      copy.after.push_back(first + b);
      last[b] = false;
    }
    if (n.after.empty()) copy.after = s->tail;
    c.nodes.push_back(std::move(copy));
  }
  if (nodes.empty()) return CUDA_SUCCESS;
  s->tail.clear();
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (last[i]) s->tail.push_back(first + i);
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult BeginCapture(CUstream s, CUstreamCaptureMode mode, CUgraph target) {
  if (s == nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (s->capture != nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  s->capture = std::make_shared<Capture>();
  s->capture->graph = std::make_shared<CUgraph_st>();
  s->capture->graph->capture = s->capture.get();
  s->capture->target = target;
  s->capture->origin = s;
  s->capture->mode = mode;
  s->capture->thread = std::this_thread::get_id();
  s->capture->streams = {s};
  s->tail.clear();
  TheState().captures.push_back(s->capture);
  return CUDA_SUCCESS;
}

CUresult Enqueue(CUstream stream, std::function<void()> work, Gate gate) {
  std::lock_guard lock(TheState().mutex);
  CUstream s = StreamOf(stream);
  if (s->capture != nullptr) return AddNodes(s, {Node{std::move(work), std::move(gate), {}}});
  if (stream == nullptr && !TheState().captures.empty()) {
    for (const auto& c : TheState().captures) {
      if (c->thread != std::this_thread::get_id()) continue;
      Invalidate(c.get());
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
  }
  s->last = Submit(s->device, std::move(work), {s->last}, std::move(gate));
  return CUDA_SUCCESS;
}

}  // namespace fake_cuda

extern "C" {

CUresult cuStreamCreateWithPriority(CUstream* s, unsigned, int) {
  FAKE_CALL(kNeedsContext);
  *s = new CUstream_st{fake_cuda::CurrentDevice(), nullptr, nullptr, {}};
  return CUDA_SUCCESS;
}
CUresult cuStreamDestroy(CUstream s) {
  const Call call(__func__);  // on a device that has failed too
  if (s == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (s->capture != nullptr) {
    fake_cuda::Invalidate(s->capture.get());
    std::erase(s->capture->streams, s);
    if (s->capture->origin == s) fake_cuda::EndCaptureOf(s->capture);
  }
  delete s;  // its work goes on
  return call.result();
}
CUresult cuStreamSynchronize(CUstream stream) {
  FAKE_CALL(kUnsafe);
  CUstream s = StreamOf(stream);
  if (s->capture != nullptr) {
    fake_cuda::Invalidate(s->capture.get());
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  fake_cuda::RunUntil(s->last);
  return call->sticky;
}
CUresult cuStreamQuery(CUstream stream) {
  FAKE_CALL(kUnsafe);
  CUstream s = StreamOf(stream);
  fake_cuda::RunSome();
  if (call->sticky != CUDA_SUCCESS) return call->sticky;
  return s->last == nullptr || s->last->done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
CUresult cuCtxSynchronize() {
  FAKE_CALL(kNeedsContext);
  for (const auto& c : call->captures) {
    if (c->origin->device != fake_cuda::CurrentDevice()) continue;
    fake_cuda::Invalidate(c.get());
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  fake_cuda::RunAll(-1);
  return call->sticky;
}
CUresult cuStreamWaitEvent(CUstream stream, CUevent e, unsigned) {
  FAKE_CALL(kNeedsContext);
  CUstream s = StreamOf(stream);
  if (e == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (e->capture != nullptr) {
    const auto& active = call->captures;
    if (std::find(active.begin(), active.end(), e->capture) == active.end()) {
      return CUDA_ERROR_CAPTURED_EVENT;  // of a capture that has ended
    }
    if (s->capture != nullptr && s->capture != e->capture) {
      fake_cuda::Invalidate(s->capture.get());
      fake_cuda::Invalidate(e->capture.get());
      return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (stream == nullptr) {
      fake_cuda::Invalidate(e->capture.get());
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    if (s->capture == nullptr) {
      s->capture = e->capture;
      s->capture->streams.push_back(s);
    }
    fake_cuda::AddAll(&s->tail, e->tail);
    return CUDA_SUCCESS;
  }
  if (s->capture != nullptr) {
    if (e->op == nullptr) return CUDA_SUCCESS;
    fake_cuda::Invalidate(s->capture.get());
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (e->op != nullptr) s->last = fake_cuda::Submit(s->device, nullptr, {s->last, e->op});
  return CUDA_SUCCESS;
}
CUresult cuStreamBeginCapture(CUstream s, CUstreamCaptureMode mode) {
  FAKE_CALL(kNeedsContext);
  return fake_cuda::BeginCapture(s, mode, nullptr);
}
CUresult cuStreamEndCapture(CUstream s, CUgraph* g) {
  FAKE_CALL(kAny);
  *g = nullptr;
  if (s == nullptr || s->capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  const std::shared_ptr<Capture> capture = s->capture;
  if (capture->origin != s) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->thread != std::this_thread::get_id() &&
      capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED) {
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  const bool joined = fake_cuda::Joined(*capture);
  fake_cuda::EndCaptureOf(capture);
  if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!joined) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  *g = capture->target;
  if (*g == nullptr) *g = new CUgraph_st;
  (*g)->nodes = std::move(capture->nodes);  // events that were captured keep the rest
  return CUDA_SUCCESS;
}
CUresult cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus* status) {
  FAKE_CALL(kAny);
  const auto& capture = StreamOf(s)->capture;
  *status = capture == nullptr ? CU_STREAM_CAPTURE_STATUS_NONE
            : capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                               : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent* e, unsigned) {
  FAKE_CALL(kNeedsContext);
  *e = new CUevent_st{fake_cuda::CurrentDevice(), nullptr, nullptr, {}};
  return CUDA_SUCCESS;
}
CUresult cuEventDestroy(CUevent e) {
  const Call call(__func__);  // on a device that has failed too
  delete e;
  return call.result();
}
CUresult cuEventRecord(CUevent e, CUstream stream) {
  FAKE_CALL(kNeedsContext);
  CUstream s = StreamOf(stream);
  if (e == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (s->device != e->device) return CUDA_ERROR_INVALID_HANDLE;
  e->capture = s->capture;
  e->tail = s->tail;
  e->op = nullptr;
  if (s->capture != nullptr) {
    return s->capture->invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
  }
  e->op = s->last = fake_cuda::Submit(s->device, nullptr, {s->last});
  return CUDA_SUCCESS;
}
CUresult cuEventQuery(CUevent e) {
  FAKE_CALL(kUnsafe);
  if (e->capture != nullptr) return CUDA_ERROR_CAPTURED_EVENT;
  fake_cuda::RunSome();
  if (call->sticky != CUDA_SUCCESS) return call->sticky;
  return e->op == nullptr || e->op->done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
CUresult cuEventSynchronize(CUevent e) {
  FAKE_CALL(kUnsafe);
  if (e->capture != nullptr) return CUDA_ERROR_CAPTURED_EVENT;
  fake_cuda::RunUntil(e->op);
  return call->sticky;
}
CUresult cuEventElapsedTime(float* ms, CUevent a, CUevent b) {
  FAKE_CALL(kAny);
  for (CUevent e : {a, b}) {
    if (e->op == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (!e->op->done) return CUDA_ERROR_NOT_READY;
  }
  *ms = std::chrono::duration<float, std::milli>(b->op->at - a->op->at).count();
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiate(CUgraphExec* e, CUgraph g, unsigned long long) {
  FAKE_CALL(kNeedsContext);
  *e = new CUgraphExec_st{g->nodes, nullptr};
  return CUDA_SUCCESS;
}
CUresult cuGraphExecDestroy(CUgraphExec e) {
  const Call call(__func__);  // on a device that has failed too
  delete e;
  return call.result();
}
CUresult cuGraphDestroy(CUgraph g) {
  const Call call(__func__);  // on a device that has failed too
  delete g;
  return call.result();
}
CUresult cuGraphLaunch(CUgraphExec e, CUstream stream) {
  FAKE_CALL(kNeedsContext);
  CUstream s = StreamOf(stream);
  if (s->device != fake_cuda::CurrentDevice()) return CUDA_ERROR_INVALID_HANDLE;
  if (s->capture != nullptr) return fake_cuda::AddNodes(s, e->nodes);
  const OpPtr begin = fake_cuda::Submit(s->device, nullptr, {s->last, e->last});
  std::vector<OpPtr> ops = {begin};
  for (const Node& n : e->nodes) {
    std::vector<OpPtr> before = {begin};
    for (const size_t b : n.after) before.push_back(ops[b + 1]);
    ops.push_back(fake_cuda::Submit(s->device, n.run, before, n.gate));
  }
  s->last = e->last = fake_cuda::Submit(s->device, nullptr, ops);
  return CUDA_SUCCESS;
}
CUresult cuGraphUpload(CUgraphExec, CUstream) {
  FAKE_CALL(kNeedsContext);
  return CUDA_SUCCESS;
}
CUresult cuGraphGetNodes(CUgraph g, CUgraphNode*, size_t* n) {
  FAKE_CALL(kAny);
  *n = g->nodes.size();
  return CUDA_SUCCESS;
}

}  // extern "C"
