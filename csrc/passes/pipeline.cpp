// SPDX-License-Identifier: Apache-2.0
#include "passes/pipeline.h"

#include <unordered_map>

#include "ops/ops.h"

namespace ostria {
namespace {

// Repeated, since each makes work for the others, until none changes anything.
constexpr Pass kCleanUp[] = {
    {"inline_calls", InlineCalls},
    {"inline_control", InlineControl},
    {"both_branches", BothBranches, PassFor::kStreams},
    {"recurrent_layers", RecurrentLayers, PassFor::kStreams},
    {"expand_recurrent", ExpandRecurrent, PassFor::kStreams},
    {"merge_scans", MergeScans},
    {"hoist_invariant", HoistInvariant},
    {"trim_loops", TrimLoops},
    {"simplify", Simplify},
    {"remove_broadcasts", RemoveBroadcasts},
    {"fold_transposes", FoldTransposes},
    {"fold_constants", FoldConstants},
    {"cse", MergeCommonSubexpressions},
    {"dce", EliminateDeadCode},
};

// Once, on a clean graph.
constexpr Pass kFuse[] = {
    {"softmax_cross_entropy", FuseSoftmaxCrossEntropy},
    {"relu_grad_before_pool", ReluGradBeforePool},
    {"sum_before_pool", SumBeforePool},
    {"join_slice_grads", JoinSliceGrads},
    {"dce", EliminateDeadCode},
    {"pack_attention", PackAttention, PassFor::kStreams},
    {"widen_sums", WidenSums, PassFor::kStreams},
    {"row_updates", RowUpdates},
    {"join_gathers", JoinGathers, PassFor::kCaches},
    {"outer_gradients", OuterGradients, PassFor::kCaches},
    {"filters_first", FiltersFirst, PassFor::kStreams},
    {"pad_channels", PadChannels, PassFor::kStreams},
    {"fold_channel_scale", FoldChannelScale},
    {"fuse_bias_activation", FuseBiasActivation},
    {"pad_products", PadProducts, PassFor::kStreams},
    {"dce", EliminateDeadCode},  // what sums were before they were widened
    {"product_epilogues", ProductEpilogues, PassFor::kStreams},
    {"cse", MergeCommonSubexpressions},
    {"dce", EliminateDeadCode},
    {"split_batch", SplitBatch, PassFor::kCaches},
    {"widen_norms", WidenNorms, PassFor::kCaches},
    {"norms_into_convs", NormsIntoConvs, PassFor::kStreams},
    {"split_norms", SplitNorms, PassFor::kStreams},
    {"dce", EliminateDeadCode},
    {"guard_state", GuardState, PassFor::kStreams},
    {"fuse_loops", FuseLoops},
    {"recompute_cheap", RecomputeCheap},
    {"slices_into_loops", SlicesIntoLoops, PassFor::kStreams},
    {"materialise_constants", MaterialiseConstants},
    {"cse", MergeCommonSubexpressions},
    {"dce", EliminateDeadCode},
};

// Last, when bodies are optimised: what is computed again must not be merged with the first time.
constexpr Pass kLast[] = {
    {"inline_apart", InlineApart},
    {"dce", EliminateDeadCode},
    {"forget_checks", ForgetChecks, PassFor::kStreams},
    {"overlap_reductions", OverlapReductions},
};

constexpr int kMaxRounds = 8;  // ordinary graphs need two or three

using BodyMap = std::unordered_map<Body, Body>;

bool RunAll(std::span<const Pass> passes, Graph& graph, const PassContext& context) {
  bool changed = false;
  for (const Pass& pass : passes) {
    const PassFor other =
        context.device == DeviceKind::kCuda ? PassFor::kCaches : PassFor::kStreams;
    if (pass.device == other) continue;
    if (!pass.run(graph, context)) continue;
    changed = true;
    if (VerifyEnabled()) Verify(graph, pass.name);
  }
  return changed;
}

void OptimiseGraph(Graph& graph, const PassContext& context, BodyMap& bodies) {
  for (int round = 0; round < kMaxRounds; ++round) {
    if (!RunAll(kCleanUp, graph, context)) break;
  }
  RunAll(kFuse, graph, context);
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (graph.is(n, ops::kFused)) continue;  // its body is a loop program in waiting
    for (int i = 0; i < static_cast<int>(graph.attrs(n).size()); ++i) {
      const Body* attr = std::get_if<Body>(&graph.attrs(n)[i]);
      if (attr == nullptr || *attr == nullptr) continue;
      const Body body = *attr;
      const bool fresh = bodies.try_emplace(body).second;
      if (fresh) {
        auto copy = std::make_shared<Graph>(body->Clone());
        OptimiseGraph(*copy, context, bodies);
        bodies[body] = std::move(copy);
      }
      graph.SetAttr(n, i, bodies[body]);
    }
  }
  RunAll(kLast, graph, context);
}

}  // namespace

void Optimise(Graph& graph, const PassContext& context) {
  BodyMap bodies;
  OptimiseGraph(graph, context, bodies);
}

}  // namespace ostria
