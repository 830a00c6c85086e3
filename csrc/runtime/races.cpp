// SPDX-License-Identifier: Apache-2.0
// The race proof: replays a plan's steps over byte ranges and checks that every operand still holds
// the value it is read as. It trusts nothing the planner computed but the operands themselves.
#include <map>

#include "base/check.h"
#include "ir/bytes.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "runtime/accesses.h"
#include "runtime/control.h"
#include "runtime/plan.h"
#include "runtime/streams.h"

namespace ostria {
namespace {

// Which value the bytes of one region hold, as disjoint ranges: begin -> (end, owner).
class Ownership {
 public:
  void Write(int64_t begin, int64_t end, int32_t owner) {
    if (begin >= end) return;
    auto it = ranges_.lower_bound(begin);
    if (it != ranges_.begin() && std::prev(it)->second.first > begin) --it;
    while (it != ranges_.end() && it->first < end) {
      const auto [b, range] = *it;
      it = ranges_.erase(it);
      if (b < begin) ranges_[b] = {begin, range.second};
      if (range.first > end) it = ranges_.emplace(end, range).first;
    }
    ranges_[begin] = {end, owner};
  }
  bool Holds(int64_t begin, int64_t end, int32_t owner) const {
    if (begin >= end) return true;
    auto it = ranges_.upper_bound(begin);
    if (it == ranges_.begin()) return false;
    --it;
    return it->second.second == owner && it->second.first >= end;
  }

 private:
  std::map<int64_t, std::pair<int64_t, int32_t>> ranges_;
};

class Replay {
 public:
  explicit Replay(const Plan& plan) : plan_(plan), g_(plan.graph) {
    for (size_t i = 0; i < g_.inputs().size(); ++i) {
      Write({Region::kInput, static_cast<int32_t>(i), 0}, g_.inputs()[i]);
    }
    for (size_t i = 0; i < g_.state().size(); ++i) {
      Write({Region::kState, static_cast<int32_t>(i), 0}, g_.state()[i].in);
    }
  }

  void Run() {
    int32_t left = plan_.num_kept;
    for (const Step& s : plan_.steps) {
      // A run may start here: whatever the region of activations held is gone.
      if (left-- == 0) regions_.erase({Region::kActivation, 0});
      const int packed = s.state->packed_input;
      if (s.pack) {
        Read(s, Operand(s, 0), g_.operand(s.node, packed));
        Claim(Operand(s, 1), s.state->packed_bytes, PackedOwner(s));
        continue;
      }
      for (int i = 0; i < s.num_inputs; ++i) {
        if (i == packed) {
          OSTRIA_CHECK(Of(Operand(s, i))
                           .Holds(Operand(s, i).offset,
                                  Operand(s, i).offset + s.state->packed_bytes, PackedOwner(s)),
                       g_.op(s.node).name, " reads a packed operand that was overwritten");
        } else {
          Read(s, Operand(s, i), g_.operand(s.node, i));
        }
      }
      const struct Operand& workspace = Operand(s, s.num_inputs + s.num_outputs);
      Claim(workspace, s.state->workspace_bytes, kScratch);
      for (int i = 0; i < s.num_inputs; ++i) {  // the workspace must not lie on an input
        const struct Operand& in = Operand(s, i);
        if (workspace.region == in.region) Read(s, in, g_.operand(s.node, i));
      }
      for (int i = 0; i < s.num_outputs; ++i) {
        Write(Operand(s, s.num_inputs + i), g_.result(s.node, i));
      }
      for (int i = 0; i < s.num_outputs; ++i) {  // outputs must not lie on each other
        Read(s, Operand(s, s.num_inputs + i), g_.result(s.node, i));
      }
    }
  }

 private:
  static constexpr int32_t kScratch = -2;
  static int32_t PackedOwner(const Step& s) { return -3 - s.packed_by.id; }

  const struct Operand& Operand(const Step& s, int i) const {
    return plan_.operands[s.first_operand + i];
  }
  // Views read the bytes of what they view.
  Value Source(Value v) const {
    while (g_.producer(v).valid() && SharesMemory(g_, g_.producer(v))) {
      v = g_.operand(g_.producer(v), 0);
    }
    return v;
  }
  Ownership& Of(const struct Operand& o) {
    return regions_[{o.region, o.region == Region::kActivation ? 0 : o.index}];
  }
  void Claim(const struct Operand& o, int64_t bytes, int32_t owner) {
    if (o.region != Region::kNone && o.region != Region::kUnread)
      Of(o).Write(o.offset, o.offset + bytes, owner);
  }
  void Write(const struct Operand& o, Value v) { Claim(o, Bytes(g_, v), v.id); }
  void Read(const Step& s, const struct Operand& o, Value v) {
    const Value source = Source(v);
    if (o.region == Region::kNone || o.region == Region::kUnread || o.region == Region::kConstant) {
      return;
    }
    OSTRIA_CHECK(Of(o).Holds(o.offset, o.offset + Bytes(g_, v), source.id), g_.op(s.node).name,
                 " reads a value that was overwritten: ", g_.type(v));
  }

  const Plan& plan_;
  const Graph& g_;
  std::map<std::pair<Region, int32_t>, Ownership> regions_;
};

// Every two steps that touch common bytes, one writing, must be ordered by streams and waits.
void CheckOrder(const Plan& plan) {
  if (plan.num_streams == 1) return;  // the order of the steps
  const HappensBefore order(plan);
  struct Touch {
    size_t step;
    Access access;
  };
  std::map<std::pair<Region, int32_t>, std::vector<Touch>> memory;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    for (const Access& a : AccessesOf(plan, plan.steps[i])) {
      std::vector<Touch>& touches = memory[{a.region, a.index}];
      for (const Touch& t : touches) {
        OSTRIA_CHECK(t.step == i || !t.access.Conflicts(a) || order.Ordered(t.step, i), "step ", i,
                     " (", plan.graph.op(plan.steps[i].node).name, ") does not wait for step ",
                     t.step, " (", plan.graph.op(plan.steps[t.step].node).name,
                     "), which touches the same bytes");
      }
      touches.push_back({i, a});
    }
  }
}

}  // namespace

void CheckRaces(const Plan& plan) {
  Replay(plan).Run();
  CheckOrder(plan);
  for (const Step& step : plan.steps) {
    for (const BodyPlan& body : BodiesOf(*step.state)) CheckRaces(*body.plan);
  }
}

}  // namespace ostria
