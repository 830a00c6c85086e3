// SPDX-License-Identifier: Apache-2.0
// The text of a plan: one line per step, then copies, what passes report, and statistics. Golden
// tests compare it.
#include "runtime/plan.h"

#include "runtime/control.h"

namespace ostria {
namespace {

std::string Text(const Plan& plan, const Operand& o) {
  switch (o.region) {
    case Region::kActivation: return StrCat("act+", o.offset);
    case Region::kState: return StrCat("state:", plan.state[static_cast<size_t>(o.index)].name);
    case Region::kInput: return StrCat("in", o.index);
    case Region::kOutput: return StrCat("out", o.index);
    case Region::kConstant: return StrCat("const+", o.offset);
    case Region::kKept: return StrCat("kept+", o.offset);
    case Region::kUnread: return "unread";
    case Region::kNone: break;
  }
  return "-";
}

// The steps and copies, those of bodies indented below the node that runs them.
void AppendSteps(const Plan& plan, const std::string& indent, std::string* text) {
  const Graph& g = plan.graph;
  std::string& out = *text;
  int index = 0;
  for (const Step& s : plan.steps) {
    out += StrCat(indent, index, index < plan.num_kept ? " (kept): " : ": ", s.pack ? "pack " : "",
                  g.op(s.node).name, " <", s.kernel->impl);
    ++index;
    if (!s.state->detail.empty()) out += StrCat(", ", s.state->detail);
    out += ">";
    for (int i = 0; i < s.num_inputs + s.num_outputs; ++i) {
      const Value v = i < s.num_inputs ? g.operand(s.node, i) : g.result(s.node, i - s.num_inputs);
      out += i == s.num_inputs ? " -> " : i > 0 ? ", " : " ";
      out += StrCat(Text(plan, plan.operands[s.first_operand + i]), " ", g.type(v));
    }
    if (s.pack) {
      out += StrCat(" ", Text(plan, plan.operands[s.first_operand]), " ",
                    g.type(g.operand(s.node, s.state->packed_input)), " -> ",
                    Text(plan, plan.operands[s.first_operand + 1]), " ", s.state->packed_bytes,
                    " bytes");
    } else if (s.state->workspace_bytes > 0) {
      const int at = s.first_operand + s.num_inputs + s.num_outputs;
      out += StrCat(" workspace ", Text(plan, plan.operands[at]), " ", s.state->workspace_bytes);
    }
    if (plan.num_streams > 1) out += StrCat(" stream ", s.stream);
    if (!s.waits.empty()) out += StrCat(" after ", Join(s.waits, ", "));
    const std::string line = ShortLocation(g.location(s.node));
    out += line.empty() ? "\n" : StrCat("  [", line, "]\n");
    for (const BodyPlan& body : BodiesOf(*s.state)) {
      out += StrCat(indent, "  ", body.name, ":\n");
      AppendSteps(*body.plan, indent + "    ", text);
    }
  }
  for (const Copy& c : plan.copies) {
    out += StrCat(indent, "copy ", Text(plan, c.from), " -> ", Text(plan, c.to), " ", c.bytes,
                  " bytes\n");
  }
}

}  // namespace

std::string Print(const Plan& plan) {
  std::string out = StrCat("plan for ", plan.device.name, ": ", plan.steps.size(), " steps\n");
  AppendSteps(plan, "  ", &out);
  for (const std::string& line : plan.report) out += StrCat("  ", line, "\n");
  const PlanStats& s = plan.stats;
  out += StrCat("peak ", s.peak_bytes(), " bytes: activations ", s.activation_bytes,
                " (liveness bound ", s.liveness_bytes, "), state ", s.state_bytes, ", inputs ",
                s.input_bytes, ", outputs ", s.output_bytes, ", constants ", s.constant_bytes,
                s.kept_bytes > 0 ? StrCat(", kept ", s.kept_bytes) : "", "\n");
  out += StrCat("moved ", s.moved_bytes, " bytes (fused bound ", s.fused_bound_bytes, ")\n");
  return out;
}

}  // namespace ostria
