// SPDX-License-Identifier: Apache-2.0
#include "runtime/lower.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <unordered_map>

#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pins.h"
#include "runtime/control.h"

namespace ostria {
namespace {

// A decomposition that comes back to its own op without a kernel for it would never end.
constexpr int kDeepest = 16;

constexpr std::string_view kDecompose = "decompose";

using KernelLists = std::unordered_map<const OpDef*, std::vector<const KernelDef*>>;

// An empty operand with a non-empty result: the value the op declares (decision A9).
bool ReplaceEmpty(Graph& g, NodeId n) {
  const OpDef& op = g.op(n);
  if (op.on_empty == OnEmpty::kRun) return false;
  bool empty = false;
  for (int i = 0; i < g.num_operands(n); ++i) empty |= g.shape(g.operand(n, i)).numel() == 0;
  if (!empty) return false;
  double value = 0;
  switch (op.on_empty) {
    case OnEmpty::kRun:
    case OnEmpty::kError:
      throw Error(ErrorCode::kInvalidArgument, std::string(op.name),
                  StrCat("an input is empty (shape ", g.shape(g.operand(n, 0)),
                         ") and the op has no value for that; check the batch size"))
          .At(ShortLocation(g.location(n)));
    case OnEmpty::kZero: break;
    case OnEmpty::kOne: value = 1; break;
    case OnEmpty::kMinusInfinity: value = -std::numeric_limits<double>::infinity(); break;
    case OnEmpty::kInfinity: value = std::numeric_limits<double>::infinity(); break;
  }
  Builder b(g, g.location(n), n);
  for (int i = 0; i < g.num_results(n); ++i) {
    const ValueType type = g.type(g.result(n, i));
    g.ReplaceAllUses(g.result(n, i), b(ops::kFull, {}, {type.shape, type.dtype, value}));
  }
  return true;
}

// What other ranks take part in happens, whatever this one has to give.
bool NothingToCompute(const Graph& g, NodeId n) {
  if (g.op(n).traits.ordered) return false;
  for (int i = 0; i < g.num_results(n); ++i) {
    if (g.shape(g.result(n, i)).numel() != 0) return false;
  }
  return true;
}

// What runs once in a while itself packs nothing.
uint64_t LastingInputs(const Graph& g, NodeId n, const Origins& origins) {
  uint64_t bits = 0;
  if (origins.Of(n) != Origin::kRun) return bits;
  for (int i = 0; i < g.num_operands(n) && i < 64; ++i) {
    if (origins[g.operand(n, i)] != Origin::kRun) bits |= uint64_t{1} << i;
  }
  return bits;
}

// Ops some or all of whose implementations refused a node, counted by op and reasons.
class Refusals {
 public:
  /// `instead`: what came of the node.
  void Add(const OpDef& op, const std::string& instead, const std::vector<std::string>& reasons) {
    const std::pair key(op.name, StrCat(instead, ": ", Join(reasons, "; ")));
    const auto known = std::find_if(counts_.begin(), counts_.end(),
                                    [&](const auto& entry) { return entry.first == key; });
    if (known == counts_.end()) {
      counts_.emplace_back(key, 1);
    } else {
      ++known->second;
    }
  }
  void AppendTo(std::vector<std::string>* report) const {
    for (const auto& [key, count] : counts_) {
      report->push_back(
          StrCat(key.first, count > 1 ? StrCat(" (", count, " times)") : "", " ", key.second));
    }
  }

 private:
  std::vector<std::pair<std::pair<std::string_view, std::string>, int>> counts_;
};

std::string Signature(const Graph& g, NodeId n) {
  std::string out = StrCat(g.op(n).name, "(");
  for (int i = 0; i < g.num_operands(n); ++i) {
    if (i > 0) out += ", ";
    out += ToString(g.type(g.operand(n, i)));
  }
  return out + ")";
}

}  // namespace

std::span<const KernelDef* const> KernelsFor(DeviceKind device, const OpDef& op) {
  static std::mutex mutex;
  static std::unordered_map<DeviceKind, KernelLists> tables;
  std::lock_guard lock(mutex);
  KernelLists& lists = tables[device];
  const auto [it, fresh] = lists.try_emplace(&op);
  if (fresh) {
    for (const KernelDef& k : ControlKernels(device)) {
      if (k.op == &op) it->second.push_back(&k);
    }
    for (const KernelDef& k : FindBackend(device).Kernels()) {
      if (k.op == nullptr || k.op == &op) it->second.push_back(&k);
    }
  }
  return it->second;
}

bool HasKernel(const DeviceProps& device, const OpDef& op, std::span<const Attr> attrs,
               std::span<const ValueType> inputs) {
  std::vector<ValueType> outputs;
  InferTypes(op, inputs, attrs, &outputs);
  std::vector<MemDesc> in, out;
  bool empty = false;
  const auto describe = [&](const ValueType& t, std::vector<MemDesc>* to) {
    to->push_back(MemDesc::Dense(t.dtype, t.shape));
    empty |= t.shape.numel() == 0;
  };
  for (const ValueType& t : inputs) describe(t, &in);
  for (const ValueType& t : outputs) describe(t, &out);
  const NodeDesc desc{&op, attrs, in, out, &device};
  const auto kernels = KernelsFor(device.kind, op);
  const std::string* const pin = PinOf(op);
  return empty || std::any_of(kernels.begin(), kernels.end(), [&](const KernelDef* k) {
           return (pin == nullptr || k->impl == *pin) && k->supports(desc).ok;
         });
}

void DescribeNode(const Graph& g, NodeId n, std::vector<MemDesc>* inputs,
                  std::vector<MemDesc>* outputs) {
  inputs->clear();
  outputs->clear();
  for (int i = 0; i < g.num_operands(n); ++i) {
    const ValueType& t = g.type(g.operand(n, i));
    inputs->push_back(MemDesc::Dense(t.dtype, t.shape));
  }
  for (int i = 0; i < g.num_results(n); ++i) {
    const ValueType& t = g.type(g.result(n, i));
    outputs->push_back(MemDesc::Dense(t.dtype, t.shape));
  }
}

void PinKernel(const OpDef& op, std::string_view impl, DeviceKind device) {
  if (impl.empty() || (impl == kDecompose && op.decompose != nullptr)) {
    SetPin(op, impl);
    return;
  }
  std::string known;
  for (const KernelDef* k : KernelsFor(device, op)) {
    if (k->impl == impl) {
      SetPin(op, impl);
      return;
    }
    known += StrCat(known.empty() ? "'" : ", '", k->impl, "'");
  }
  throw Error(ErrorCode::kInvalidArgument, std::string(op.name),
              StrCat("no implementation '", impl, "'; there are ", known.empty() ? "none" : known));
}

std::vector<Choice> Lower(Graph& g, const DeviceProps& device, bool keeps,
                          std::vector<std::string>* report) {
  std::vector<Choice> choices(static_cast<size_t>(g.node_capacity()));
  std::vector<int> depth(static_cast<size_t>(g.node_capacity()));  // decompositions above a node
  std::vector<MemDesc> inputs, outputs;
  Refusals refusals;
  Origins origins(g);
  for (NodeId n = g.first(); n.valid();) {
    const NodeId next = g.next(n);
    const OpDef& op = g.op(n);
    origins.Add(n);
    if (&op == &ops::kConstant || SharesMemory(g, n) || NothingToCompute(g, n)) {
      n = next;
      continue;
    }
    const NodeId previous = g.previous(n);
    if (ReplaceEmpty(g, n)) {
      // One constant per result, all of them to be lowered.
      const NodeId made = previous.valid() ? g.next(previous) : g.first();
      g.Erase(n);
      choices.resize(static_cast<size_t>(g.node_capacity()));
      depth.resize(static_cast<size_t>(g.node_capacity()));
      n = made;
      continue;
    }
    DescribeNode(g, n, &inputs, &outputs);
    const NodeDesc desc{&op,     g.attrs(n), inputs,
                        outputs, &device,    keeps ? LastingInputs(g, n, origins) : 0};
    std::vector<std::string> reasons;
    const std::string* pin = PinOf(op);
    // A decomposition may use its own op for another dtype: there the choice is free.
    if (pin != nullptr && *pin == kDecompose && depth[n.id] > 0) pin = nullptr;
    for (const KernelDef* k : KernelsFor(device.kind, op)) {
      if (pin != nullptr && k->impl != *pin) continue;
      const Support support = k->supports(desc);
      if (support.ok) {
        choices[n.id] = {k, k->prepare(desc)};
        if (!reasons.empty()) refusals.Add(op, StrCat("runs as ", k->impl), reasons);
        break;
      }
      reasons.push_back(StrCat(k->impl, ": ", support.reason));
    }
    if (choices[n.id].kernel != nullptr) {
      n = next;
      continue;
    }
    if (op.decompose == nullptr || depth[n.id] == kDeepest) {
      throw Error(
          ErrorCode::kNotImplemented, std::string(op.name),
          StrCat("no implementation on ", device.name, " for ", Signature(g, n),
                 reasons.empty() ? "; none is registered" : StrCat("\n  ", Join(reasons, "\n  "))))
          .At(ShortLocation(g.location(n)));
    }
    if (depth[n.id] == 0 && !reasons.empty()) refusals.Add(op, "is made of simpler ops", reasons);
    const NodeId before = g.previous(n);
    Builder b(g, Derive(g.location(n), StrCat("part of ", op.name)), n);
    const std::vector<Value> operands = g.operands(n);
    const std::vector<Value> results = op.decompose(b, operands, g.attrs(n));
    for (int i = 0; i < g.num_results(n); ++i) g.ReplaceAllUses(g.result(n, i), results[i]);
    const int below = depth[n.id] + 1;
    g.Erase(n);
    choices.resize(static_cast<size_t>(g.node_capacity()));
    depth.resize(static_cast<size_t>(g.node_capacity()), below);
    n = before.valid() ? g.next(before) : g.first();
  }
  if (report != nullptr) refusals.AppendTo(report);
  return choices;
}

}  // namespace ostria
