// SPDX-License-Identifier: Apache-2.0
// From a static graph to a plan: lower, give every value a storage, place the storages, count
// bytes. A storage is what values share: a view shares its input's, an in-place result its
// operand's.
#include "runtime/plan.h"

#include <algorithm>

#include "backend/product_padding.h"
#include "base/check.h"
#include "ir/bytes.h"
#include "ops/common/collective.h"
#include "passes/pipeline.h"
#include "runtime/control.h"
#include "runtime/eager.h"
#include "runtime/largest_values.h"
#include "runtime/lower.h"
#include "runtime/memory_planner.h"
#include "runtime/plan_bytes.h"
#include "runtime/recompute.h"
#include "runtime/schedule.h"
#include "runtime/storage.h"
#include "runtime/streams.h"

namespace ostria {

namespace {

// On a GPU inputs have two staging sets, and outputs are copied out of a buffer (device_run.h).
void AddInterface(const Graph& g, Plan* plan) {
  const int sets = plan->device.kind == DeviceKind::kCuda ? 2 : 1;
  for (Value v : g.inputs()) {
    plan->inputs.push_back(g.type(v));
    plan->stats.input_bytes += sets * Bytes(g, v);
  }
  for (Value v : g.outputs()) {
    plan->outputs.push_back(g.type(v));
    plan->stats.output_bytes += sets * Bytes(g, v);
  }
  for (const StateEntry& s : g.state()) {
    plan->state.push_back({s.variable, s.name, g.type(s.in), !(s.in == s.out)});
    plan->stats.state_bytes += Bytes(g, s.in);
  }
}

void AddSteps(const Graph& g, const Schedule& schedule, const StorageMap& storage,
              const std::vector<Choice>& choices, Plan* plan) {
  plan->num_kept = schedule.num_kept;
  for (const auto& [n, pack] : schedule.steps) {
    const Choice& choice = choices[n.id];
    const int packed = choice.state->packed_input;
    Step step{choice.kernel, choice.state, n, static_cast<int32_t>(plan->operands.size())};
    step.pack = pack;
    step.packed_by = schedule.packed_by[n.id];
    if (pack) {
      plan->operands.push_back(storage.OperandOf(g.operand(n, packed)));
      plan->operands.push_back(storage.PackedOf(n));
      plan->steps.push_back(std::move(step));
      continue;
    }
    step.num_inputs = g.num_operands(n);
    step.num_outputs = g.num_results(n);
    for (int i = 0; i < g.num_operands(n); ++i) {
      plan->operands.push_back(i == packed ? storage.PackedOf(n)
                                           : storage.OperandOf(g.operand(n, i)));
    }
    for (int i = 0; i < g.num_results(n); ++i) {
      plan->operands.push_back(storage.OperandOf(g.result(n, i)));
    }
    plan->operands.push_back(storage.WorkspaceOf(n));
    plan->steps.push_back(std::move(step));
  }
}

// Tensors of an all_reduce that follow each other in memory are reduced in one call.
void JoinCalls(Graph& g, const StorageMap& storage, const DeviceProps& device,
               std::vector<Choice>* choices) {
  std::vector<MemDesc> inputs, outputs;
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    Choice& choice = (*choices)[n.id];
    if (choice.kernel == nullptr || !ops::ReducesInPlace(g.op(n))) continue;
    std::vector<int64_t> calls;
    Value before;  // the last one with elements
    for (int i = 0; i < g.num_results(n); ++i) {
      const Value v = g.result(n, i);
      const bool is_empty = Bytes(g, v) == 0;
      if (!calls.empty() && (is_empty || !before.valid() || storage.Follows(before, v))) {
        ++calls.back();
      } else {
        calls.push_back(1);
      }
      if (!is_empty) before = v;
    }
    g.SetAttr(n, ops::AllReduceAttr::kCalls, std::move(calls));
    DescribeNode(g, n, &inputs, &outputs);
    choice.state = choice.kernel->prepare({&g.op(n), g.attrs(n), inputs, outputs, &device});
  }
}

// Constant folding runs nodes on the CPU, whatever the plan is for.
std::vector<Tensor> Evaluate(const OpDef& op, std::span<const Attr> attrs,
                             std::span<const Tensor> inputs) {
  std::vector<Tensor> outputs;
  RunEagerOn({}, op, inputs, attrs, &outputs);
  return outputs;
}

[[noreturn]] void FailOverLimit(const Plan& plan) {
  Fail(ErrorCode::kOutOfMemory, PlanSizes(plan), ", over the limit of ", plan.device.memory_limit,
       " bytes on ", plan.device.name, "; use a smaller batch. ", LargestValues(plan));
}

// Of an optimised graph, whatever its size.
std::shared_ptr<Plan> PlanGraph(const Graph& graph, const PlanOptions& options) {
  auto plan = std::make_shared<Plan>();
  plan->device = options.device;
  plan->graph = graph.Clone();
  Graph& g = plan->graph;
  std::vector<Choice> choices = Lower(g, options.device, options.keeps, &plan->report);
  if (VerifyEnabled()) Verify(g, "lower");
  AddInterface(g, plan.get());

  const Schedule schedule = MakeSchedule(g, choices);
  StorageMap storage(g, choices, schedule, options, plan.get());
  storage.Place(options.streams, &plan->stats);
  JoinCalls(g, storage, options.device, &choices);
  AddSteps(g, schedule, storage, choices, plan.get());
  if (options.streams > 1) AssignStreams(plan.get(), options.streams);
  CountBytes(g, plan.get());
  return plan;
}

bool Fits(const Plan& plan) {
  const int64_t limit = plan.device.memory_limit;
  return limit <= 0 || plan.stats.peak_bytes() <= limit;
}

// The estimate of a graph and the planner's figure differ: aim at a share of the estimate, and
// lower until the planner agrees.
std::shared_ptr<Plan> PlanRecomputed(Graph& graph, const PlanOptions& options,
                                     std::shared_ptr<Plan> plan) {
  constexpr int kTries = 6;
  int64_t added = 0;
  for (int i = 0; i < kTries && !Fits(*plan); ++i) {
    const int64_t fixed = plan->stats.peak_bytes() - plan->stats.activation_bytes;
    const int64_t room = options.device.memory_limit - fixed;
    if (room <= 0) break;
    const double share =
        static_cast<double>(room) / static_cast<double>(plan->stats.activation_bytes);
    const auto target = static_cast<int64_t>(share * static_cast<double>(EstimatePeak(graph)));
    const int more = RecomputeUntil(&graph, target);
    if (more == 0) break;
    added += more;
    std::shared_ptr<Plan> next = PlanGraph(graph, options);
    next->stats.recomputed_nodes = added;
    plan = std::move(next);
  }
  return plan;
}

// What a perfect fuser moves is a figure of the computation: rows that were made wider are our own
// doing.
int64_t BoundWithoutPadding(const Graph& graph, PassContext context, const PlanOptions& options) {
  context.product_multiple = nullptr;
  context.report = nullptr;
  Graph narrow = graph.Clone();
  Optimise(narrow, context);
  return PlanGraph(narrow, options)->stats.fused_bound_bytes;
}

}  // namespace

std::shared_ptr<const Plan> MakePlan(const Graph& graph, const PlanOptions& options) {
  Graph optimised = graph.Clone();
  decltype(Plan::report) report;
  int64_t fused_bound = -1;
  if (options.optimize) {
    PassContext context{.evaluate = Evaluate, .device = options.device.kind, .report = &report};
    // A CPU computes what it does not take as one node as it did the nodes that were joined.
    if (options.device.kind == DeviceKind::kCuda) {
      context.has_kernel = [&](const OpDef& op, std::span<const Attr> attrs,
                               std::span<const ValueType> inputs) {
        return HasKernel(options.device, op, attrs, inputs);
      };
    }
    bool padded = false;
    context.padded = &padded;
    context.product_multiple = [&](DType dtype) { return ProductMultiple(options.device, dtype); };
    context.padding_pays = [&](const ops::ProductPadding& padding) {
      return PaddingPays(options.device, padding);
    };
    Optimise(optimised, context);
    if (padded) fused_bound = BoundWithoutPadding(graph, context, options);
  }
  std::shared_ptr<Plan> plan = PlanGraph(optimised, options);
  if (options.recompute) plan = PlanRecomputed(optimised, options, std::move(plan));
  if (fused_bound >= 0) plan->stats.fused_bound_bytes = fused_bound;
  plan->report.insert(plan->report.begin(), report.begin(), report.end());
  if (!Fits(*plan)) FailOverLimit(*plan);
  return plan;
}

}  // namespace ostria
