// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan_bytes.h"

#include <span>
#include <utility>
#include <vector>

#include "backend/repeated_bytes.h"
#include "runtime/control.h"
#include "runtime/fused_bound.h"
#include "runtime/moved_bytes.h"

namespace ostria {

int64_t MovedBytes(const Plan& plan, const Step& step) {
  int64_t bytes = 0;
  for (int i = 0; i < step.num_inputs; ++i) bytes += ReadBytes(plan.graph, step.node, i);
  for (int i = 0; i < step.num_outputs; ++i) {
    const Operand& out = plan.operands[step.first_operand + step.num_inputs + i];
    if (out.region != Region::kUnread) bytes += WrittenBytes(plan.graph, step.node, i);
  }
  if (const auto* again = dynamic_cast<const RepeatsBytes*>(step.state.get())) {
    bytes += again->RepeatedBytes();
  }
  for (const BodyPlan& body : BodiesOf(*step.state)) {
    bytes += body.times * body.plan->stats.moved_bytes;
  }
  return bytes;
}

void CountBytes(const Graph& g, Plan* plan) {
  const auto every_run = std::span(plan->steps).subspan(static_cast<size_t>(plan->num_kept));
  for (const Step& step : every_run) plan->stats.moved_bytes += MovedBytes(*plan, step);
  std::vector<bool> kept(static_cast<size_t>(g.node_capacity()));
  for (const Step& step : std::span(plan->steps).first(static_cast<size_t>(plan->num_kept))) {
    if (!step.pack) kept[step.node.id] = true;
  }
  plan->stats.fused_bound_bytes = FusedBound(g, std::move(kept));
  for (const Step& step : plan->steps) {
    for (const BodyPlan& body : BodiesOf(*step.state)) {
      plan->stats.fused_bound_bytes += body.times * body.plan->stats.fused_bound_bytes;
      plan->stats.constant_bytes += body.plan->stats.constant_bytes;
    }
  }
  for (const Copy& c : plan->copies) {
    plan->stats.moved_bytes += 2 * c.bytes;
    plan->stats.fused_bound_bytes += 2 * c.bytes;
  }
}

}  // namespace ostria
