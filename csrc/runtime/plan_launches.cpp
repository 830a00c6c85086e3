// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan_launches.h"

#include <span>

#include "ops/ops.h"
#include "runtime/control.h"
#include "runtime/plan_bytes.h"

namespace ostria {
namespace {

void Add(const Plan& plan, int64_t times, PlanLaunches* out) {
  for (const Step& s : std::span(plan.steps).subspan(static_cast<size_t>(plan.num_kept))) {
    if (plan.graph.is(s.node, ops::kTranspose)) out->transposes += times;
    const std::span<const BodyPlan> bodies = BodiesOf(*s.state);
    for (const BodyPlan& body : bodies) Add(*body.plan, times * body.times, out);
    if (!bodies.empty()) continue;
    const std::string_view op = plan.graph.op(s.node).name;
    const bool is_group = plan.graph.is(s.node, ops::kFused);
    out->moved[is_group ? StrCat(op, " ", s.state->detail) : std::string(op)] +=
        times * MovedBytes(plan, s);
    std::vector<std::string> names = s.state->LaunchNames();
    if (names.empty()) names = {StrCat(plan.graph.op(s.node).name, " ", s.kernel->impl)};
    for (const std::string& name : names) out->kernels[name] += times;
    out->launches += times * std::ssize(names);
  }
  out->copies += times * std::ssize(plan.copies);
}

}  // namespace

PlanLaunches CountLaunches(const Plan& plan) {
  PlanLaunches out;
  Add(plan, 1, &out);
  return out;
}

}  // namespace ostria
