// SPDX-License-Identifier: Apache-2.0
// Running bodies. The workspace of a control node holds, per body, its pointers (inputs, outputs,
// operands of all steps) and its activation region, then one spare buffer per carry. Nothing here
// allocates, locks or looks anything up while it runs.
//
// Captures and rows of xs and ys are bound where they lie. A carry alternates between its result
// and its spare buffer so that the last step writes the result:  init -> spare -> result -> spare
// -> …
#include "runtime/control.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "core/aligned.h"
#include "ir/builder.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "runtime/blame.h"
#include "runtime/control_state.h"

namespace ostria {
namespace {

alignas(64) std::byte empty_operand[64];
thread_local int checked_bodies = 0;

// A body bound to memory: views of the workspace.
struct Bound {
  const Plan* plan;
  void** inputs;
  void** outputs;
  void** operands;
};

Bound Bind(const BodyPlan& body, std::byte* workspace) {
  const Plan& plan = *body.plan;
  Bound b{&plan, reinterpret_cast<void**>(workspace + body.tables), nullptr, nullptr};
  b.outputs = b.inputs + plan.inputs.size();
  b.operands = b.outputs + plan.outputs.size();
  for (size_t i = 0; i < plan.operands.size(); ++i) {
    const Operand& o = plan.operands[i];
    b.operands[i] = o.region == Region::kActivation ? workspace + body.region + o.offset
                    : o.region == Region::kConstant
                        ? const_cast<std::byte*>(plan.constants.data()) + o.offset
                        : empty_operand;
  }
  return b;
}

[[noreturn]] void FailIn(const Plan& plan, size_t step, const Error& error) {
  if (const auto* located = dynamic_cast<const BodyError*>(&error)) throw *located;
  throw BodyError(NamedError(plan, step, error), WhereOf(plan, step, error));
}

// One run on the inputs and outputs that are bound now.
void RunBody(const Bound& b, std::byte* workspace, const BodyPlan& body) {
  const Plan& plan = *b.plan;
  for (size_t i = 0; i < plan.operands.size(); ++i) {
    const Operand& o = plan.operands[i];
    if (o.region == Region::kInput) b.operands[i] = b.inputs[o.index];
    if (o.region == Region::kOutput) b.operands[i] = b.outputs[o.index];
  }
  size_t i = 0;
  try {
    if (checked_bodies > 0) {
      for (; i < plan.steps.size(); ++i) {
        RunStepChecked(plan, i, b.operands + plan.steps[i].first_operand);
      }
    } else {
      for (; i < plan.steps.size(); ++i) {
        const Step& s = plan.steps[i];
        s.kernel->launch(*s.state, b.operands + s.first_operand);
      }
    }
  } catch (const Error& e) {
    FailIn(plan, i, e);
  }
  const auto address = [&](const Operand& o) -> void* {
    switch (o.region) {
      case Region::kActivation: return workspace + body.region + o.offset;
      case Region::kConstant: return const_cast<std::byte*>(plan.constants.data()) + o.offset;
      case Region::kInput: return b.inputs[o.index];
      case Region::kOutput: return b.outputs[o.index];
      case Region::kUnread: return nullptr;
      case Region::kState:
      case Region::kKept:  // bodies keep nothing
      case Region::kNone: break;
    }
    return empty_operand;
  };
  for (const Copy& c : plan.copies) {
    std::memcpy(address(c.to), address(c.from), static_cast<size_t>(c.bytes));
  }
}

void CopyBytes(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

void LaunchCond(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ControlState&>(state);
  auto* workspace = static_cast<std::byte*>(ptrs[s.num_inputs + s.num_outputs]);
  const bool holds = s.computes ? *static_cast<const bool*>(ptrs[0]) : true;
  const BodyPlan& body = s.bodies[holds ? 0 : 1];
  const Bound b = Bind(body, workspace);
  std::copy_n(ptrs + 1, s.num_inputs - 1, b.inputs);
  std::copy_n(ptrs + s.num_inputs, s.num_outputs, b.outputs);
  RunBody(b, workspace, body);
}

void LaunchScan(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ControlState&>(state);
  const ops::ScanParts& p = s.scan;
  void* const* results = ptrs + s.num_inputs;
  auto* workspace = static_cast<std::byte*>(ptrs[s.num_inputs + s.num_outputs]);
  const BodyPlan& body = s.bodies[0];
  const Bound b = Bind(body, workspace);
  auto* step = reinterpret_cast<int64_t*>(workspace + s.counters);
  std::copy_n(ptrs, p.captures, b.inputs);
  b.inputs[p.first_x() + p.xs] = step;
  for (int64_t t = 0; t < p.length; ++t) {
    *step = BindRound(s, ptrs, t, b.inputs, b.outputs);
    RunBody(b, workspace, body);
  }
  if (p.length > 0) return;
  for (int k = 0; k < p.carries; ++k) {
    CopyBytes(results[k], ptrs[p.captures + k], s.carries[k].bytes);
  }
}

void LaunchWhile(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ControlState&>(state);
  void* const* results = ptrs + s.num_inputs;
  auto* workspace = static_cast<std::byte*>(ptrs[s.num_inputs + s.num_outputs]);
  const Bound condition = Bind(s.bodies[0], workspace), body = Bind(s.bodies[1], workspace);
  auto* step = reinterpret_cast<int64_t*>(workspace + s.counters);
  auto* holds = reinterpret_cast<bool*>(step + 1);
  for (const Bound& b : {condition, body}) {
    std::copy_n(ptrs, s.num_inputs, b.inputs);
    b.inputs[s.num_inputs] = step;
  }
  condition.outputs[0] = holds;
  const auto carry_in = [&](int64_t t, int k) -> void* {
    if (t == 0) return ptrs[s.captures + k];
    return t % 2 == 1 ? results[k] : workspace + s.carries[k].spare;
  };
  int64_t t = 0;
  for (; s.computes && (s.max_steps < 0 || t < s.max_steps); ++t) {
    *step = t;
    for (int k = 0; k < s.num_outputs; ++k) {
      condition.inputs[s.captures + k] = body.inputs[s.captures + k] = carry_in(t, k);
      body.outputs[k] = t % 2 == 0 ? results[k] : workspace + s.carries[k].spare;
    }
    RunBody(condition, workspace, s.bodies[0]);
    if (!*holds) break;
    RunBody(body, workspace, s.bodies[1]);
  }
  for (int k = 0; k < s.num_outputs; ++k) {  // how many steps there were decides where they lie
    if (void* const from = carry_in(t, k); from != results[k]) {
      CopyBytes(results[k], from, s.carries[k].bytes);
    }
  }
}

// Whether kernels of the device only put work into a stream: pointers stay with the host.
bool EnqueuesWork(const NodeDesc& d) { return d.device->kind == DeviceKind::kCuda; }

// Plans a body; several bodies of one node never run at once, but their pointers stay bound.
void AddBody(const NodeDesc& d, ControlState* s, std::string_view name, const Graph& graph,
             int64_t times) {
  PlanOptions options;
  options.device = *d.device;
  options.device.memory_limit = 0;  // the node's plan is held to it as a whole
  options.optimize = false;         // the passes went into bodies already
  options.keeps = false;
  BodyPlan body{.name = name, .plan = MakePlan(graph, options), .times = times};
  const Plan& plan = *body.plan;
  body.tables = s->workspace_bytes;
  if (!EnqueuesWork(d)) {
    s->workspace_bytes += Aligned(static_cast<int64_t>(
        sizeof(void*) * (plan.inputs.size() + plan.outputs.size() + plan.operands.size())));
  }
  s->bodies.push_back(std::move(body));
}

// The bodies' regions begin at one place.
void AddRegions(ControlState* s) {
  int64_t most = 0;
  for (BodyPlan& b : s->bodies) {
    b.region = s->workspace_bytes;
    most = std::max(most, b.plan->stats.activation_bytes);
  }
  s->workspace_bytes += Aligned(most);
}

void AddCarry(const MemDesc& d, ControlState* s) {
  s->carries.push_back({d.bytes(), s->workspace_bytes});
  s->workspace_bytes += Aligned(d.bytes());
}

std::unique_ptr<ControlState> Begin(const NodeDesc& d) {
  auto s = std::make_unique<ControlState>();
  s->num_inputs = static_cast<int>(d.inputs.size());
  s->num_outputs = static_cast<int>(d.outputs.size());
  s->computes = d.device->kind != DeviceKind::kNull;
  s->workspace_bytes = Aligned(16);  // counters come first
  return s;
}

std::unique_ptr<KernelState> PrepareCond(const NodeDesc& d) {
  auto s = Begin(d);
  AddBody(d, s.get(), "true_body", *d.attr<Body>(ops::CondAttr::kThen), 1);
  AddBody(d, s.get(), "false_body", *d.attr<Body>(ops::CondAttr::kElse), 1);
  AddRegions(s.get());
  s->detail =
      StrCat(s->bodies[0].plan->steps.size(), " or ", s->bodies[1].plan->steps.size(), " steps");
  return s;
}

std::unique_ptr<KernelState> PrepareScan(const NodeDesc& d) {
  auto s = Begin(d);
  s->scan = ops::PartsOf(d.attrs, s->num_inputs);
  const ops::ScanParts& p = s->scan;
  AddBody(d, s.get(), "body", *d.attr<Body>(ops::ScanAttr::kBody), p.length);
  AddRegions(s.get());
  for (int k = 0; k < p.carries; ++k) AddCarry(d.outputs[k], s.get());
  const auto row = [&](const MemDesc& m) {
    return p.length == 0 ? int64_t{0} : m.bytes() / p.length;
  };
  for (int k = 0; k < p.xs; ++k) s->row_bytes.push_back(row(d.inputs[p.first_x() + k]));
  for (int k = 0; k < p.ys; ++k) s->row_bytes.push_back(row(d.outputs[p.carries + k]));
  s->detail = StrCat(p.length, " x ", s->bodies[0].plan->steps.size(), " steps");
  return s;
}

// On a device that computes by itself the bodies keep the count of the steps: the condition is
// false after so many, and the body gives the next number last.
Value Number(Builder& b, int64_t value) {
  Tensor t = Tensor::Empty(DType::kInt64, {});
  *t.data<int64_t>() = value;
  return b(ops::kConstant, {}, {t});
}
Graph Bounded(const Graph& condition, int64_t max_steps) {
  Graph g = condition.Clone();
  if (max_steps < 0) return g;
  Builder b(g, LocationId{0});
  const Value most = Number(b, max_steps);
  const Value more = b(ops::kLess, {g.inputs().back(), most});
  const Value holds = g.outputs()[0];
  g.SetOutput(0, b(ops::kLogicalAnd, {more, holds}));
  return g;
}
Graph Counting(const Graph& body) {
  Graph g = body.Clone();
  Builder b(g, LocationId{0});
  const Value one = Number(b, 1);
  g.AddOutput("next_step", b(ops::kAdd, {g.inputs().back(), one}));
  return g;
}

std::unique_ptr<KernelState> PrepareWhile(const NodeDesc& d) {
  auto s = Begin(d);
  s->captures = static_cast<int>(d.attr<int64_t>(ops::WhileAttr::kCaptures));
  s->max_steps = d.attr<int64_t>(ops::WhileAttr::kMaxSteps);
  const Graph &condition = *d.attr<Body>(ops::WhileAttr::kCondition),
              &body = *d.attr<Body>(ops::WhileAttr::kBody);
  const bool enqueued = EnqueuesWork(d);
  AddBody(d, s.get(), "condition", enqueued ? Bounded(condition, s->max_steps) : condition.Clone(),
          1);
  AddBody(d, s.get(), "body", enqueued ? Counting(body) : body.Clone(), 1);
  AddRegions(s.get());
  for (const MemDesc& m : d.outputs) AddCarry(m, s.get());
  if (enqueued) AddCarry(MemDesc::Dense(DType::kInt64, {}), s.get());
  s->detail =
      StrCat(s->bodies[0].plan->steps.size() + s->bodies[1].plan->steps.size(), " steps a round");
  return s;
}

Support SupportsBranch(const NodeDesc& d) {
  if (!EnqueuesWork(d)) return Support::Yes();
  return Support::No("which body runs is decided by data, and work of ", d.device->name,
                     " is in its stream before they are known; compute both and choose with "
                     "ost.where");
}
Support SupportsLoop(const NodeDesc& d) {
  // The last condition is computed, and not asked for.
  const bool bounded = d.attr<int64_t>(ops::WhileAttr::kMaxSteps) >= 0;
  if (!EnqueuesWork(d) || !bounded || !ops::ChecksData(*d.attr<Body>(ops::WhileAttr::kCondition))) {
    return Support::Yes();
  }
  return Support::No("with max_steps, ", d.device->name,
                     " computes the condition once more after the last step, and it may refuse its "
                     "data there; leave out max_steps, or use ost.scan");
}
Support Always(const NodeDesc&) { return Support::Yes(); }

constexpr KernelDef kBranch = {&ops::kCond, "branch", SupportsBranch, PrepareCond, LaunchCond};
constexpr KernelDef kLoop = {&ops::kWhileLoop, "loop", SupportsLoop, PrepareWhile, LaunchWhile};

constexpr KernelDef kKernels[] = {
    kBranch, {&ops::kScan, "loop", Always, PrepareScan, LaunchScan}, kLoop};
constexpr KernelDef kEnqueued[] = {kBranch,
                                   {.op = &ops::kScan,
                                    .impl = "enqueued_loop",
                                    .supports = Always,
                                    .prepare = PrepareScan,
                                    .launch = LaunchBoundScan,
                                    .bind = BindScan},
                                   {.op = &ops::kWhileLoop,
                                    .impl = "enqueued_loop",
                                    .supports = SupportsLoop,
                                    .prepare = PrepareWhile,
                                    .launch = LaunchBoundWhile,
                                    .bind = BindWhile}};

}  // namespace

int64_t BindRound(const ControlState& s, void* const* ptrs, int64_t t, void** inputs,
                  void** outputs) {
  const ops::ScanParts& p = s.scan;
  void* const* results = ptrs + s.num_inputs;
  auto* workspace = static_cast<std::byte*>(ptrs[s.num_inputs + s.num_outputs]);
  const int64_t row = p.reverse ? p.length - 1 - t : t;
  const bool last_parity = (p.length - 1 - t) % 2 == 0;
  for (int k = 0; k < p.carries; ++k) {
    void* const spare = workspace + s.carries[k].spare;
    inputs[p.captures + k] = t == 0 ? ptrs[p.captures + k] : last_parity ? spare : results[k];
    outputs[k] = last_parity ? results[k] : spare;
  }
  for (int k = 0; k < p.xs; ++k) {
    inputs[p.first_x() + k] = static_cast<std::byte*>(ptrs[p.first_x() + k]) + row * s.row_bytes[k];
  }
  for (int k = 0; k < p.ys; ++k) {
    outputs[p.carries + k] =
        static_cast<std::byte*>(results[p.carries + k]) + row * s.row_bytes[p.xs + k];
  }
  return row;
}

std::span<const KernelDef> ControlKernels(DeviceKind device) {
  if (device == DeviceKind::kCuda) return kEnqueued;
  return kKernels;
}

std::span<const BodyPlan> BodiesOf(const KernelState& state) {
  const auto* s = dynamic_cast<const ControlState*>(&state);
  return s == nullptr ? std::span<const BodyPlan>() : s->bodies;
}

CheckedBodies::CheckedBodies() { ++checked_bodies; }
CheckedBodies::~CheckedBodies() { --checked_bodies; }

LocationId WhereOf(const Plan& plan, size_t step, const Error& error) {
  return PartOf(plan.graph.location(plan.steps[step].node), error.part());
}

Error NamedError(const Plan& plan, size_t step, const Error& error) {
  if (!error.op().empty()) return error;
  return Error(error.code(), std::string(plan.graph.op(plan.steps[step].node).name),
               error.message());
}

}  // namespace ostria
