// SPDX-License-Identifier: Apache-2.0
#include "runtime/largest_values.h"

#include <algorithm>
#include <vector>

#include "ir/bytes.h"

namespace ostria {

std::string PlanSizes(const Plan& plan) {
  return StrCat("the plan needs ", plan.stats.peak_bytes(), " bytes (activations ",
                plan.stats.activation_bytes, ", state ", plan.stats.state_bytes, ")");
}

std::string LargestValues(const Plan& plan) {
  const Graph& g = plan.graph;
  std::vector<Value> values;
  for (const Step& step : plan.steps) {
    for (int i = 0; i < step.num_outputs; ++i) values.push_back(g.result(step.node, i));
  }
  const size_t most = std::min<size_t>(5, values.size());
  std::partial_sort(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(most),
                    values.end(), [&](Value a, Value b) { return Bytes(g, a) > Bytes(g, b); });
  std::string text = "Largest values:";
  for (size_t i = 0; i < most; ++i) {
    const NodeId n = g.producer(values[i]);
    const std::string line = ShortLocation(g.location(n));
    text += StrCat("\n  ", Bytes(g.type(values[i])), " bytes  ", g.type(values[i]), "  ",
                   g.op(n).name, line.empty() ? "" : StrCat(" [", line, "]"));
  }
  return text;
}

}  // namespace ostria
