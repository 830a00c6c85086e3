// SPDX-License-Identifier: Apache-2.0
// What the multi-tensor updates share on the host: how the operands of a node split, and segments
// of memory that are joined where they follow each other.
#pragma once

#include <vector>

#include "backend/cuda/launch/launch.h"
#include "core/tensor.h"
#include "kernels/optim/update.h"
#include "ops/common/optimizer.h"

namespace ostria::cuda {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Float32 or float64 first input, dense operands.
Support SupportsWideFloats(const NodeDesc& node);
/// The same of an update whose gradients are whole or given by rows.
Support SupportsUpdate(const NodeDesc& node);
/// Output k, i is the variable or slot of input group 0, 2, 3, …
bool AliasUpdate(const NodeDesc& node, int out, int in);

/// What every update keeps of its node.
struct UpdatePlan : KernelState {
  /// The variables that take the same step: of one rate, decaying or not.
  struct Alike {
    int64_t rate = 0;
    bool decays = false;
    std::vector<int> members;
  };
  ops::UpdateForm form;
  int n = 0;            // variables
  int64_t element = 4;  // bytes
  std::vector<int64_t> numel;
  std::vector<int64_t> output_bytes;
  std::vector<Alike> kinds;
  double attrs[kernels::kUpdateAttrs] = {};  // the op's own
  double weight_decay = 0;
  bool has_rows = false, float_step = false;

  void Read(const NodeDesc& node);
  const char* suffix() const { return element == 4 ? "f32" : "f64"; }
  void* const* Outputs(void* const* ptrs) const {
    return ptrs + form.groups * n + form.scalars() + (has_rows ? 1 : 0);
  }
  void* Workspace(void* const* ptrs) const { return Outputs(ptrs)[form.outputs() * n]; }
  kernels::UpdateScalars Scalars(const Alike& kind, void* const* ptrs) const;
  /// Copies what variable `i` does not update in place; returns whether nothing was to copy.
  bool CopyForward(CudaStream& stream, void* const* ptrs, int i) const;
  /// Variable `i` as it is updated in place.
  kernels::UpdateSegment Segment(void* const* ptrs, int i) const;
};

/// Segments, joined where they follow each other in memory (padding between them included), and
/// launched as many at a time as the parameters hold.
template <class Params>
class SegmentRuns {
 public:
  SegmentRuns(const CudaStream& stream, CUfunction function, int64_t element, int slots)
      : stream_(stream), function_(function), element_(element), slots_(slots) {}

  Params& params() { return params_; }
  void Add(const kernels::UpdateSegment& now, bool joins) {
    if (joins && joins_ && Follows(now)) {
      kernels::UpdateSegment& last = params_.segments[params_.count - 1];
      last.n = Padded(last.n) + now.n;
      return;
    }
    if (params_.count == Params::kMaxSegments) Flush();
    params_.segments[params_.count++] = now;
    joins_ = joins;
  }
  void Flush() {
    if (params_.count == 0) return;
    params_.tiles = 0;
    for (int i = 0; i < params_.count; ++i) {
      params_.segments[i].first_tile = params_.tiles;
      params_.tiles += CeilDiv(params_.segments[i].n, kernels::kUpdateTile);
    }
    LaunchShape shape;
    shape.block = kernels::kUpdateThreads;
    shape.grid[0] = GridFor(params_.tiles, 1, 1, stream_.cuda().props());
    LaunchKernel(stream_, function_, shape, &params_, sizeof params_);
    params_.count = 0;
  }

 private:
  int64_t Padded(int64_t n) const {
    const int64_t pad = static_cast<int64_t>(kAlignment) / element_;
    return CeilDiv(n, pad) * pad;
  }
  bool Follows(const kernels::UpdateSegment& now) const {
    if (params_.count == 0) return false;
    const kernels::UpdateSegment& last = params_.segments[params_.count - 1];
    const int64_t room = Padded(last.n) * element_;
    const auto after = [room](const void* p) { return static_cast<const std::byte*>(p) + room; };
    bool follows = now.w == after(last.w) && now.g == after(last.g);
    for (int k = 0; k < slots_; ++k) follows &= now.slots[k] == after(last.slots[k]);
    return follows;
  }

  const CudaStream& stream_;
  CUfunction function_;
  int64_t element_;
  int slots_;
  bool joins_ = false;  // whether a neighbour may be joined to the last one
  Params params_;
};

}  // namespace ostria::cuda
