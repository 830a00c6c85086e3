// SPDX-License-Identifier: Apache-2.0
#include "runtime/accesses.h"

#include "ir/bytes.h"
#include "ops/common/control.h"
#include "ops/ops.h"

namespace ostria {

std::vector<Access> AccessesOf(const Plan& plan, const Step& s) {
  const Graph& g = plan.graph;
  std::vector<Access> out;
  const auto add = [&](int i, int64_t bytes, bool write) {
    const Operand& o = plan.operands[s.first_operand + i];
    switch (o.region) {
      case Region::kConstant:
      case Region::kNone:
      case Region::kUnread: return;
      case Region::kActivation:
      case Region::kKept: out.push_back({o.region, 0, o.offset, o.offset + bytes, write}); return;
      case Region::kState:
      case Region::kInput:
      case Region::kOutput:
        out.push_back({o.region, o.index, o.offset, o.offset + bytes, write});
        return;
    }
  };
  const int64_t step = &s - plan.steps.data();
  if (!s.pack && ops::ChecksData(g, s.node)) {
    out.push_back({Region::kNone, 0, step, step + 1, true});
  } else if (g.is(s.node, ops::kDataAccepted)) {
    out.push_back({Region::kNone, 0, 0, step, false});
  }
  const int packed = s.state->packed_input;
  if (s.pack) {
    add(0, Bytes(g, g.operand(s.node, packed)), false);
    add(1, s.state->packed_bytes, true);
    return out;
  }
  for (int i = 0; i < s.num_inputs; ++i) {
    add(i, i == packed ? s.state->packed_bytes : Bytes(g, g.operand(s.node, i)), false);
  }
  for (int i = 0; i < s.num_outputs; ++i) {
    add(s.num_inputs + i, Bytes(g, g.result(s.node, i)), true);
  }
  add(s.num_inputs + s.num_outputs, s.state->workspace_bytes, true);
  return out;
}

}  // namespace ostria
