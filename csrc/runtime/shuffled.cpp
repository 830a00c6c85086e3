// SPDX-License-Identifier: Apache-2.0
#include "runtime/shuffled.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "base/check.h"
#include "ir/bytes.h"
#include "passes/match.h"
#include "runtime/accesses.h"
#include "runtime/eager.h"

namespace ostria {
namespace {

using ByteVector = std::vector<std::byte>;

class Shuffled {
 public:
  Shuffled(const Plan& plan, const std::vector<Tensor>& inputs, const std::vector<Tensor>& state,
           uint64_t seed)
      : plan_(plan), g_(plan.graph), random_(seed) {
    for (size_t i = 0; i < inputs.size(); ++i) Fill(Region::kInput, i, inputs[i]);
    for (size_t i = 0; i < state.size(); ++i) Fill(Region::kState, i, state[i]);
    for (size_t i = 0; i < plan.outputs.size(); ++i)
      Poisoned(Region::kOutput, i, ostria::Bytes(plan.outputs[i]));
    Poisoned(Region::kActivation, 0, plan.stats.activation_bytes);
    Poisoned(Region::kKept, 0, plan.stats.kept_bytes);
    memory_[{Region::kConstant, 0}] = plan.constants;
    CountReaders();
  }

  ShuffledResult Run() {
    const size_t count = plan_.steps.size();
    std::vector<bool> done(count);
    std::vector<size_t> ready;
    for (size_t left = count; left > 0; --left) {
      ready.clear();
      std::vector<bool> blocked(static_cast<size_t>(plan_.num_streams));
      for (size_t i = 0; i < count; ++i) {
        if (done[i]) continue;
        const Step& s = plan_.steps[i];
        bool may = !blocked[s.stream];
        blocked[s.stream] = true;  // its later steps come after it
        for (int32_t w : s.waits) may = may && done[w];
        if (static_cast<int32_t>(i) >= plan_.num_kept && plan_.num_kept > 0)
          may = may && done[plan_.num_kept - 1];
        if (may) ready.push_back(i);
      }
      OSTRIA_CHECK(!ready.empty(), "steps wait for each other");
      const size_t at = ready[random_() % ready.size()];
      RunStep(plan_.steps[at]);
      done[at] = true;
    }
    std::vector<std::pair<const Copy*, ByteVector>> copies;  // sources before any target
    for (const Copy& c : plan_.copies) {
      const std::byte* from = At(c.from);
      copies.emplace_back(&c, ByteVector(from, from + c.bytes));
    }
    for (const auto& [c, bytes] : copies) std::memcpy(At(c->to), bytes.data(), bytes.size());
    ShuffledResult out;
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      out.outputs.push_back(Read({Region::kOutput, static_cast<int32_t>(i), 0}, plan_.outputs[i]));
    }
    for (size_t i = 0; i < plan_.state.size(); ++i) {
      out.state.push_back(Read({Region::kState, static_cast<int32_t>(i), 0}, plan_.state[i].type));
    }
    return out;
  }

 private:
  static int32_t Index(const Operand& o) {
    const bool one = o.region == Region::kActivation || o.region == Region::kKept ||
                     o.region == Region::kConstant;
    return one ? 0 : o.index;
  }
  void Fill(Region region, size_t index, const Tensor& t) {
    const auto* bytes = static_cast<const std::byte*>(t.raw());
    memory_[{region, static_cast<int32_t>(index)}].assign(bytes, bytes + t.bytes());
  }
  void Poisoned(Region region, size_t index, int64_t bytes) {
    memory_[{region, static_cast<int32_t>(index)}].assign(static_cast<size_t>(bytes),
                                                          std::byte{0xff});
  }
  std::byte* At(const Operand& o) { return memory_[{o.region, Index(o)}].data() + o.offset; }

  Tensor Read(const Operand& o, const ValueType& type) {
    Tensor t = Tensor::Empty(type.dtype, type.shape);
    if (t.bytes() > 0) std::memcpy(t.raw(), At(o), static_cast<size_t>(t.bytes()));
    return t;
  }

  // What a view shows is the bytes of what it views.
  Value Source(Value v) const {
    for (NodeId n = g_.producer(v); n.valid() && SharesMemory(g_, n); n = g_.producer(v))
      v = g_.operand(n, 0);
    return v;
  }

  void CountReaders() {
    for (const Step& s : plan_.steps) {
      if (s.pack) continue;
      for (int i = 0; i < s.num_inputs; ++i) ++readers_[Source(g_.operand(s.node, i)).id];
    }
  }

  void RunStep(const Step& s) {
    OSTRIA_CHECK(!s.pack && s.state->packed_input < 0, "packed operands are the CPU's own");
    const auto operand = [&](int i) -> const Operand& {
      return plan_.operands[s.first_operand + i];
    };
    std::vector<Tensor> inputs, outputs;
    for (int i = 0; i < s.num_inputs; ++i)
      inputs.push_back(Read(operand(i), g_.type(g_.operand(s.node, i))));
    const auto attrs = g_.attrs(s.node);
    RunEager(g_.op(s.node), inputs, attrs, &outputs);
    for (const Access& a :
         AccessesOf(plan_, s)) {  // results and workspace: nothing is left of before
      if (!a.write || a.region == Region::kNone) continue;
      ByteVector& m = memory_[{a.region, a.index}];
      std::fill(m.begin() + a.begin, m.begin() + a.end, std::byte{0xff});
    }
    for (int i = 0; i < s.num_outputs; ++i) {
      const Operand& o = operand(s.num_inputs + i);
      if (o.region == Region::kUnread || o.region == Region::kNone) continue;
      std::memcpy(At(o), outputs[i].raw(), static_cast<size_t>(outputs[i].bytes()));
      Own(o, outputs[i].bytes(), g_.result(s.node, i).id);
    }
    for (int i = 0; i < s.num_inputs; ++i) {
      const Value v = Source(g_.operand(s.node, i));
      if (--readers_[v.id] == 0) Poison(operand(i), ostria::Bytes(g_, v), v.id);
    }
  }

  // Which value the bytes of a region of activations hold.
  void Own(const Operand& o, int64_t bytes, int32_t value) {
    if (o.region != Region::kActivation) return;
    owner_.resize(memory_[{Region::kActivation, 0}].size(), -1);
    std::fill_n(owner_.begin() + o.offset, bytes, value);
  }
  void Poison(const Operand& o, int64_t bytes, int32_t value) {
    if (o.region != Region::kActivation || CopiedLater(o)) return;
    ByteVector& m = memory_[{Region::kActivation, 0}];
    for (int64_t i = o.offset; i < o.offset + bytes; ++i) {
      if (owner_[i] == value) m[i] = std::byte{0xff};
    }
  }
  bool CopiedLater(const Operand& o) const {
    return std::any_of(plan_.copies.begin(), plan_.copies.end(),
                       [&](const Copy& c) { return c.from == o; });
  }

  const Plan& plan_;
  const Graph& g_;
  std::mt19937_64 random_;
  std::map<std::pair<Region, int32_t>, ByteVector> memory_;
  std::map<int32_t, int> readers_;
  std::vector<int32_t> owner_;
};

}  // namespace

ShuffledResult RunShuffled(const Plan& plan, const std::vector<Tensor>& inputs,
                           const std::vector<Tensor>& state, uint64_t seed) {
  return Shuffled(plan, inputs, state, seed).Run();
}

}  // namespace ostria
