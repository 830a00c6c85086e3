// SPDX-License-Identifier: Apache-2.0
#include "runtime/compiled_graph.h"

#include <algorithm>
#include <chrono>
#include <iterator>

#include "backend/backend.h"
#include "passes/pass.h"
#include "runtime/largest_values.h"

namespace ostria {
namespace {

constexpr size_t kKeep = 16;
constexpr int kStreams = 4;  // branches of a step that a device runs side by side

std::string ToString(const Binding& binding) {
  return Join(binding, ", ", [](const auto& b) { return StrCat(b.first, " = ", b.second); });
}

}  // namespace

CompiledGraph::CompiledGraph(Graph graph, std::vector<std::shared_ptr<Variable>> variables,
                             DeviceId device, int64_t memory_limit, bool recompute)
    : graph_(std::move(graph)),
      variables_(std::move(variables)),
      device_(device),
      memory_limit_(memory_limit),
      recompute_(recompute) {
  BucketReductions(graph_, {});
}

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

// With mutex_ held.
std::shared_ptr<Executable> CompiledGraph::FindKept(const Binding& binding, int calls) {
  for (auto it = cache_.begin(); it != cache_.end(); ++it) {
    if (it->binding != binding) continue;
    cache_.splice(cache_.begin(), cache_, it);
    it->calls += calls;
    return it->executable;
  }
  return nullptr;
}

std::shared_ptr<const Plan> CompiledGraph::PlanFor(const Binding& binding,
                                                   DeviceProps device) const {
  PlanOptions options;
  options.device = std::move(device);
  if (options.device.kind == DeviceKind::kCuda) options.streams = kStreams;
  options.device.memory_limit = memory_limit_;
  options.recompute = recompute_;
  for (const auto& v : variables_) {
    options.layout.places.push_back({v->id(), v->chunk_id(), v->offset()});
  }
  return MakePlan(Specialise(graph_, binding), options);
}

std::shared_ptr<Executable> CompiledGraph::Make(const Binding& binding) const {
  const DeviceProps device = FindBackend(device_.kind).Props(device_.ordinal);
  const auto plan = PlanFor(binding, device);
  try {
    return std::make_shared<Executable>(plan, variables_, device_);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kOutOfMemory) throw;
    Fail(ErrorCode::kOutOfMemory, e.message(), "; ", PlanSizes(*plan), ". ", LargestValues(*plan));
  }
}

std::shared_ptr<Executable> CompiledGraph::Find(const Binding& binding, int calls) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    if (auto kept = FindKept(binding, calls)) return kept;
    first = cache_.empty();
  }
  const auto begin = std::chrono::steady_clock::now();
  MoveVariables();
  if (first && TrainsVariables()) SealStateChunks();
  Specialisation s{.binding = binding, .calls = calls, .executable = Make(binding)};
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  s.seconds = took.count();
  std::shared_ptr<Executable> made = s.executable;
  std::list<Specialisation> dropped;  // goes after the lock: a constant may be an array of Python's
  std::lock_guard lock(mutex_);
  if (auto kept = FindKept(binding, calls)) return kept;  // another thread made it meanwhile
  s.why = cache_.empty()
              ? "first call"
              : StrCat(ToString(binding), " (was ", ToString(cache_.front().binding), ")");
  ++num_specialised_;
  cache_.push_front(std::move(s));
  if (cache_.size() > kKeep) dropped.splice(dropped.begin(), cache_, std::prev(cache_.end()));
  return made;
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

// Moving is one word: the device that the function was compiled for. Nothing is computed on null.
void CompiledGraph::MoveVariables() {
  if (device_.kind == DeviceKind::kNull || moves_ == Variable::moves()) return;
  static std::mutex moving;  // several threads may come first
  std::lock_guard lock(moving);
  for (const auto& v : variables_) v->MoveTo(device_);
  moves_ = Variable::moves();
}

std::shared_ptr<Executable> CompiledGraph::For(const Binding& binding) { return Find(binding, 0); }

std::shared_ptr<const Executable> CompiledGraph::Latest() const {
  std::lock_guard lock(mutex_);
  return cache_.empty() ? nullptr : cache_.front().executable;
}

std::vector<Specialisation> CompiledGraph::specialisations() const {
  std::lock_guard lock(mutex_);
  return {cache_.begin(), cache_.end()};
}

int64_t CompiledGraph::num_specialised() const {
  std::lock_guard lock(mutex_);
  return num_specialised_;
}

// The usual case: the same sizes as last time.
std::shared_ptr<Executable> CompiledGraph::Repeat(std::span<const Tensor> inputs) {
  std::lock_guard lock(mutex_);
  if (cache_.empty()) return nullptr;
  Specialisation& last = cache_.front();
  const std::vector<ValueType>& types = last.executable->plan().inputs;
  bool same = types.size() == inputs.size();
  for (size_t i = 0; same && i < types.size(); ++i) {
    same = types[i].dtype == inputs[i].dtype() && types[i].shape == inputs[i].shape();
  }
  if (!same) return nullptr;
  ++last.calls;
  return last.executable;
}

void CompiledGraph::Run(std::span<const Tensor> inputs, std::vector<Tensor>* outputs, bool debug) {
  MoveVariables();
  std::shared_ptr<Executable> executable = Repeat(inputs);
  if (executable == nullptr) {
    std::vector<ValueType> types;
    for (const Tensor& t : inputs) types.push_back({t.dtype(), t.shape()});
    Binding binding;
    std::string why;
    if (!Bind(types, &binding, &why)) Fail(ErrorCode::kInvalidArgument, "compiled function: ", why);
    executable = Find(binding, 1);
  }
  if (debug)
    executable->RunDebug(inputs, outputs);
  else
    executable->Run(inputs, outputs);
}

}  // namespace ostria
