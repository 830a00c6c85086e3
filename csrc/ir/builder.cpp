// SPDX-License-Identifier: Apache-2.0
#include "ir/builder.h"

namespace ostria {

NodeId Builder::Node(const OpDef& op, std::span<const Value> inputs, std::vector<Attr> attrs) {
  return graph_.AddNode(op, inputs, std::move(attrs), location_, before_);
}

std::vector<Value> Builder::Multi(const OpDef& op, std::span<const Value> inputs,
                                  std::vector<Attr> attrs) {
  const NodeId n = Node(op, inputs, std::move(attrs));
  std::vector<Value> out(static_cast<size_t>(graph_.num_results(n)));
  for (int i = 0; i < graph_.num_results(n); ++i) out[i] = graph_.result(n, i);
  return out;
}

}  // namespace ostria
