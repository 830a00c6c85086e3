// SPDX-License-Identifier: Apache-2.0
#include "runtime/compiled_graph.h"

#include <algorithm>
#include <chrono>

#include "backend/backend.h"

namespace ostria {
namespace {

constexpr size_t kKeep = 16;

std::string ToString(const Binding& binding) {
  return Join(binding, ", ", [](const auto& b) { return StrCat(b.first, " = ", b.second); });
}

}  // namespace

CompiledGraph::CompiledGraph(Graph graph, std::vector<std::shared_ptr<Variable>> variables,
                             DeviceId device, int64_t memory_limit)
    : graph_(std::move(graph)),
      variables_(std::move(variables)),
      device_(device),
      memory_limit_(memory_limit) {}

bool CompiledGraph::Bind(std::span<const ValueType> inputs, Binding* binding,
                         std::string* why) const {
  const auto expect = graph_.inputs();
  if (inputs.size() != expect.size()) {
    *why = StrCat("takes ", expect.size(), " tensors, ", inputs.size(), " were given");
    return false;
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueType& want = graph_.type(expect[i]);
    const ValueType& got = inputs[i];
    const auto mismatch = [&] {
      *why = StrCat("input '", graph_.input_name(static_cast<int>(i)), "' must be ", want, ", but ",
                    got, " was given");
      return false;
    };
    if (want.dtype != got.dtype || want.shape.rank() != got.shape.rank()) return mismatch();
    for (int axis = 0; axis < want.shape.rank(); ++axis) {
      const Dim d = want.shape[axis];
      const int64_t size = got.shape[axis].value();
      if (d.is_static()) {
        if (d.value() != size) return mismatch();
        continue;
      }
      const std::string symbol = ostria::ToString(d);
      const auto it = std::find_if(binding->begin(), binding->end(),
                                   [&](const auto& b) { return b.first == symbol; });
      if (it == binding->end())
        binding->emplace_back(symbol, size);
      else if (it->second != size)
        return mismatch();
    }
  }
  return true;
}

bool CompiledGraph::Accepts(std::span<const ValueType> inputs) const {
  Binding binding;
  std::string why;
  return Bind(inputs, &binding, &why);
}

Specialisation& CompiledGraph::Find(const Binding& binding) {
  for (auto it = cache_.begin(); it != cache_.end(); ++it) {
    if (it->binding != binding) continue;
    cache_.splice(cache_.begin(), cache_, it);
    return cache_.front();
  }
  const auto begin = std::chrono::steady_clock::now();
  if (cache_.empty() && TrainsVariables()) SealStateChunks();
  PlanOptions options;
  options.device = FindBackend(device_.kind).Props(device_.ordinal);
  options.device.memory_limit = memory_limit_;
  for (const auto& v : variables_) {
    options.layout.places.push_back({v->id(), v->chunk_id(), v->offset()});
  }
  Specialisation s;
  s.binding = binding;
  s.why = cache_.empty()
              ? "first call"
              : StrCat(ToString(binding), " (was ", ToString(cache_.front().binding), ")");
  s.executable = std::make_unique<Executable>(MakePlan(Specialise(graph_, binding), options),
                                              variables_, device_);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  s.seconds = took.count();
  ++num_specialised_;
  cache_.push_front(std::move(s));
  if (cache_.size() > kKeep) cache_.pop_back();
  return cache_.front();
}

// A plan that writes trainable variables lays gradients out like their chunk: it must not grow.
bool CompiledGraph::TrainsVariables() const {
  for (size_t i = 0; i < variables_.size(); ++i) {
    const StateEntry& entry = graph_.state()[i];
    if (!(entry.in == entry.out) && variables_[i]->state_class() == StateClass::kTrainable)
      return true;
  }
  return false;
}

Executable& CompiledGraph::For(const Binding& binding) { return *Find(binding).executable; }

void CompiledGraph::Run(std::span<const Tensor> inputs, std::vector<Tensor>* outputs, bool debug) {
  Specialisation* s = nullptr;
  if (!cache_.empty()) {  // the usual case: the same sizes as last time
    const std::vector<ValueType>& last = cache_.front().executable->plan().inputs;
    bool same = last.size() == inputs.size();
    for (size_t i = 0; same && i < last.size(); ++i) {
      same = last[i].dtype == inputs[i].dtype() && last[i].shape == inputs[i].shape();
    }
    if (same) s = &cache_.front();
  }
  if (s == nullptr) {
    std::vector<ValueType> types;
    for (const Tensor& t : inputs) types.push_back({t.dtype(), t.shape()});
    Binding binding;
    std::string why;
    if (!Bind(types, &binding, &why)) Fail(ErrorCode::kInvalidArgument, "compiled function: ", why);
    s = &Find(binding);
  }
  ++s->calls;
  if (debug)
    s->executable->RunDebug(inputs, outputs);
  else
    s->executable->Run(inputs, outputs);
}

}  // namespace ostria
