// SPDX-License-Identifier: Apache-2.0
// What a pass is, and all of them. A pass rewrites one graph whose sizes are integers, leaves dead
// nodes to EliminateDeadCode, and says whether it changed anything: running it again must then say
// no.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "ir/graph.h"
#include "ops/common/product_padding.h"

namespace ostria {

struct PassContext {
  /// Runs a node on host tensors. Without it nothing is folded that needs a kernel; where it throws
  /// Error the node stays as it is.
  std::function<std::vector<Tensor>(const OpDef& op, std::span<const Attr> attrs,
                                    std::span<const Tensor> inputs)>
      evaluate;
  /// What the graph will run on.
  DeviceKind device = DeviceKind::kCpu;
  /// Whether that device has an implementation for a node of `op` with operands of these types. A
  /// pass asks (HasKernel in match.h) before it joins nodes; without it the answer is
  /// yes, and passes for recurrent ops do nothing.
  std::function<bool(const OpDef& op, std::span<const Attr> attrs,
                     std::span<const ValueType> inputs)>
      has_kernel;
  /// Elements that sizes of a product of this type should be a multiple of on that device, and
  /// whether it pays to make them so. Without both no product is padded.
  std::function<int64_t(DType)> product_multiple;
  std::function<bool(const ops::ProductPadding&)> padding_pays;
  /// Set where a product was padded. May be null.
  bool* padded = nullptr;
  /// Lines for the plan's report: what a pass decided that a user may wonder about. May be null.
  std::vector<std::string>* report = nullptr;
  /// Counts the nodes that searches look at, so that tests see how it grows. May be null.
  int64_t* looked = nullptr;
};

using PassFn = bool (*)(Graph&, const PassContext&);
enum class PassFor : uint8_t {
  kEvery,
  kCaches,   // pays through the caches of a CPU
  kStreams,  // for work that is in a stream before its data are known
};
struct Pass {
  std::string_view name;
  PassFn run = nullptr;
  PassFor device = PassFor::kEvery;
};

bool InlineCalls(Graph& graph, const PassContext& context);
bool InlineControl(Graph& graph, const PassContext& context);
bool RecurrentLayers(Graph& graph, const PassContext& context);
bool ExpandRecurrent(Graph& graph, const PassContext& context);
bool BothBranches(Graph& graph, const PassContext& context);
bool MergeScans(Graph& graph, const PassContext& context);
bool HoistInvariant(Graph& graph, const PassContext& context);
bool TrimLoops(Graph& graph, const PassContext& context);
bool InlineApart(Graph& graph, const PassContext& context);
bool Simplify(Graph& graph, const PassContext& context);
bool RemoveBroadcasts(Graph& graph, const PassContext& context);
bool FoldTransposes(Graph& graph, const PassContext& context);
bool FoldConstants(Graph& graph, const PassContext& context);
bool MergeCommonSubexpressions(Graph& graph, const PassContext& context);
bool EliminateDeadCode(Graph& graph, const PassContext& context);
bool WidenNorms(Graph& graph, const PassContext& context);
bool FiltersFirst(Graph& graph, const PassContext& context);
bool PadChannels(Graph& graph, const PassContext& context);
bool PadProducts(Graph& graph, const PassContext& context);
bool NormsIntoConvs(Graph& graph, const PassContext& context);
bool SplitNorms(Graph& graph, const PassContext& context);
bool FuseSoftmaxCrossEntropy(Graph& graph, const PassContext& context);
bool FoldChannelScale(Graph& graph, const PassContext& context);
bool FuseBiasActivation(Graph& graph, const PassContext& context);
bool ProductEpilogues(Graph& graph, const PassContext& context);
bool SplitBatch(Graph& graph, const PassContext& context);
bool FuseLoops(Graph& graph, const PassContext& context);
bool SlicesIntoLoops(Graph& graph, const PassContext& context);
bool RecomputeCheap(Graph& graph, const PassContext& context);
bool ReluGradBeforePool(Graph& graph, const PassContext& context);
bool SumBeforePool(Graph& graph, const PassContext& context);
bool JoinGathers(Graph& graph, const PassContext& context);
bool RowUpdates(Graph& graph, const PassContext& context);
bool WidenSums(Graph& graph, const PassContext& context);
bool JoinSliceGrads(Graph& graph, const PassContext& context);
bool PackAttention(Graph& graph, const PassContext& context);
bool OuterGradients(Graph& graph, const PassContext& context);
bool GuardState(Graph& graph, const PassContext& context);
bool ForgetChecks(Graph& graph, const PassContext& context);
bool MaterialiseConstants(Graph& graph, const PassContext& context);
/// Not in the pipeline: of a traced graph, whose sizes may be symbols.
bool BucketReductions(Graph& graph, const PassContext& context);
bool OverlapReductions(Graph& graph, const PassContext& context);

}  // namespace ostria
