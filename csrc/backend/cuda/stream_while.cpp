// SPDX-License-Identifier: Apache-2.0
// Loops whose end is decided by data: in a captured graph a conditional node, whose body is
// captured from a stream of its own; otherwise rounds that the host asks for. A kernel copies the
// flag into the node's condition, before the node and at the end of each round.
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/stream.h"
#include "kernels/control/set_condition.h"

namespace ostria::cuda {
namespace {

using kernels::SetConditionParams;

bool IsCapturing(const CudaStream& stream) {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  CheckDriver(Driver().cuStreamIsCapturing(stream.handle(), &status), "asking about a capture");
  return status == CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

// The graph that a stream is captured into, and what its next node comes after.
struct CaptureInfo {
  explicit CaptureInfo(const CudaStream& stream) {
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    CheckDriver(Driver().cuStreamGetCaptureInfo(stream.handle(), &status, nullptr, &graph, &after,
                                                &edges, &count),
                "asking about a capture");
  }
  CUgraph graph = nullptr;
  const CUgraphNode* after = nullptr;
  const CUgraphEdgeData* edges = nullptr;
  size_t count = 0;
};

CUfunction ConditionKernel(const CudaStream& stream) {
  return stream.cuda().Kernel("control/set_condition", "set_condition");
}

void SetCondition(const CudaStream& stream, const void* flag, CUgraphConditionalHandle handle) {
  SetConditionParams p;
  p.flag = static_cast<const uint8_t*>(flag);
  p.handle = handle;
  LaunchShape shape;
  shape.block = 1;
  LaunchKernel(stream, ConditionKernel(stream), shape, &p, sizeof p);
}

}  // namespace

void CudaStream::While(const void* flag, Stream& inner, const std::function<void()>& body) {
  auto& within = static_cast<CudaStream&>(inner);
  if (IsCapturing(*this)) return WhileRecorded(flag, within, body);
  ConditionKernel(*this);  // nothing is loaded while a stream is captured, which comes after this
  within.WaitFor(*Record());
  for (;;) {
    uint8_t holds = 0;
    within.CopyToHost(&holds, flag, sizeof holds);
    within.Synchronize();
    if (holds == 0) break;
    body();
  }
  WaitFor(*within.Record());
}

void CudaStream::WhileRecorded(const void* flag, CudaStream& inner,
                               const std::function<void()>& body) {
  CUcontext context = nullptr;
  CheckDriver(Driver().cuCtxGetCurrent(&context), "asking for the context");
  CUgraphConditionalHandle handle = 0;
  CheckDriver(
      Driver().cuGraphConditionalHandleCreate(&handle, CaptureInfo(*this).graph, context, 0, 0),
      "making the condition of a loop");
  SetCondition(*this, flag, handle);
  const CaptureInfo now(*this);
  CUgraphNodeParams params = {};
  params.type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
  params.conditional.handle = handle;
  params.conditional.type = CU_GRAPH_COND_TYPE_WHILE;
  params.conditional.size = 1;
  params.conditional.ctx = context;
  CUgraphNode node = nullptr;
  CheckDriver(Driver().cuGraphAddNode(&node, now.graph, now.after, now.edges, now.count, &params),
              "adding a loop to a captured step");
  CheckDriver(Driver().cuStreamUpdateCaptureDependencies(handle_, &node, nullptr, 1,
                                                         CU_STREAM_SET_CAPTURE_DEPENDENCIES),
              "putting a loop into a stream");
  {
    std::lock_guard lock(device_.stream_mutex());
    CheckDriver(Driver().cuStreamBeginCaptureToGraph(
                    inner.handle_, params.conditional.phGraph_out[0], nullptr, nullptr, 0,
                    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                "beginning to capture the body of a loop");
  }
  CUgraph graph = nullptr;  // the node's own
  try {
    body();
    SetCondition(inner, flag, handle);
  } catch (...) {
    Driver().cuStreamEndCapture(inner.handle_, &graph);
    throw;
  }
  CheckDriver(Driver().cuStreamEndCapture(inner.handle_, &graph),
              "ending to capture the body of a loop");
}

}  // namespace ostria::cuda
