// SPDX-License-Identifier: Apache-2.0
#include "runtime/compiled_graph.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <optional>

#include "backend/backend.h"
#include "backend/collective_node.h"
#include "base/check.h"
#include "ops/common/control.h"
#include "passes/pass.h"
#include "runtime/largest_values.h"

namespace ostria {
namespace {

constexpr size_t kKeep = 16;
constexpr int kStreams = 4;  // branches of a step that a device runs side by side

std::string ToString(const Binding& binding) {
  return Join(binding, ", ", [](const auto& b) { return StrCat(b.first, " = ", b.second); });
}

// Several threads may come first.
std::mutex& MovingMutex() {
  static std::mutex moving;
  return moving;
}

// Copies of the inputs of each replica, those that another device has on the host; nothing where
// there are none. A replica that read them itself would wait for the other device, whose work waits
// for this replica in a collective.
std::vector<std::vector<Tensor>> FromOtherDevices(std::span<const std::vector<Tensor>> inputs,
                                                  std::span<const DeviceId> devices) {
  std::vector<std::vector<Tensor>> out;
  for (size_t r = 0; r < inputs.size(); ++r) {
    for (size_t i = 0; i < inputs[r].size(); ++i) {
      const Tensor& t = inputs[r][i];
      if (t.on_host() || t.device() == devices[r]) continue;
      if (out.empty()) out.assign(inputs.begin(), inputs.end());
      out[r][i] = t.OnHost();
    }
  }
  return out;
}

}  // namespace

CompiledGraph::CompiledGraph(Graph graph, std::vector<std::shared_ptr<Variable>> variables,
                             DeviceId device, int64_t memory_limit, bool recompute)
    : graph_(std::move(graph)),
      variables_(std::move(variables)),
      device_(device),
      memory_limit_(memory_limit),
      recompute_(recompute) {
  BucketReductions(graph_, {.device = device.kind});
}

CompiledGraph::CompiledGraph(Graph graph, std::vector<std::shared_ptr<Variable>> variables,
                             std::shared_ptr<ReplicaGroup> replicas, int64_t memory_limit,
                             bool recompute, std::vector<Parts> parts, std::string label)
    : CompiledGraph(std::move(graph), std::move(variables), replicas->devices()[0], memory_limit,
                    recompute) {
  replicas_ = std::move(replicas);
  parts_ = std::move(parts);
  label_ = std::move(label);
  parts_.resize(variables_.size());
  // Asked of the traced graph: plans of other sizes may have dropped what looks at data.
  commits_together_ = WritesState() && ops::ChecksData(graph_);
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
Specialisation* CompiledGraph::FindKept(const Binding& binding) {
  for (auto it = cache_.begin(); it != cache_.end(); ++it) {
    if (it->binding != binding) continue;
    cache_.splice(cache_.begin(), cache_, it);
    return &cache_.front();
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
  options.commits_together = commits_together_;
  for (const auto& v : variables_) {
    options.layout.places.push_back({v->id(), v->chunk_id(), v->offset()});
  }
  const CollectivesOf collectives(label_);
  return MakePlan(Specialise(graph_, binding), options);
}

std::shared_ptr<const Plan> CompiledGraph::MakePlanFor(const Binding& binding) const {
  std::optional<ThreadShare> share;  // kernels are prepared for so many threads
  if (replicas_ != nullptr) share.emplace(replicas_->threads_each());
  return PlanFor(binding, FindBackend(device_.kind).Props(device_.ordinal));
}

std::shared_ptr<Executable> CompiledGraph::Bound(std::shared_ptr<const Plan> plan,
                                                 int replica) const {
  const bool is_one = replicas_ != nullptr;
  const DeviceId device = is_one ? replicas_->devices()[static_cast<size_t>(replica)] : device_;
  try {
    return std::make_shared<Executable>(plan, variables_, device, Launching::kRecorded,
                                        Replica{replica, is_one, commits_together_});
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kOutOfMemory) throw;
    Fail(ErrorCode::kOutOfMemory, e.message(), "; ", PlanSizes(*plan), ". ", LargestValues(*plan));
  }
}

std::shared_ptr<Executable> CompiledGraph::Find(const Binding& binding, int calls, int replica) {
  const auto r = static_cast<size_t>(replica);
  Specialisation s{.binding = binding, .calls = calls};
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    if (Specialisation* kept = FindKept(binding)) {
      if (kept->executables[r] != nullptr) {
        kept->calls += calls;
        return kept->executables[r];
      }
      s.plan = kept->plan;
    }
    first = cache_.empty();
  }
  const auto begin = std::chrono::steady_clock::now();
  if (first && TrainsVariables()) SealStateChunks();
  if (s.plan == nullptr) s.plan = MakePlanFor(binding);
  std::shared_ptr<Executable> made = Bound(s.plan, replica);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  s.seconds = took.count();
  std::list<Specialisation> dropped;  // goes after the lock: a constant may be an array of Python's
  std::lock_guard lock(mutex_);
  if (Specialisation* kept = FindKept(binding)) {  // of another replica, or made meanwhile
    kept->calls += calls;
    kept->seconds += s.seconds;
    if (kept->executables[r] == nullptr) kept->executables[r] = made;
    return kept->executables[r];
  }
  s.executables.resize(replicas_ == nullptr ? 1 : replicas_->devices().size());
  s.executables[r] = made;
  s.why = cache_.empty()
              ? "first call"
              : StrCat(ToString(binding), " (was ", ToString(cache_.front().binding), ")");
  ++num_specialised_;
  cache_.push_front(std::move(s));
  if (cache_.size() > kKeep) dropped.splice(dropped.begin(), cache_, std::prev(cache_.end()));
  return made;
}

bool CompiledGraph::WritesState() const {
  return std::any_of(graph_.state().begin(), graph_.state().end(),
                     [](const StateEntry& entry) { return !(entry.in == entry.out); });
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
  if (replicas_ != nullptr) return MirrorVariables();
  if (device_.kind == DeviceKind::kNull) return;
  const int64_t spreads = Variable::spreads();
  if (moves_ == Variable::moves() && copies_ == spreads) return;
  std::lock_guard lock(MovingMutex());
  for (const auto& v : variables_) {
    v->MoveTo(device_);
    v->Gather();
  }
  moves_ = Variable::moves();
  copies_ = spreads;
}

void CompiledGraph::MirrorVariables() {
  const int64_t behind = Variable::fell_behind();
  if (moves_ == Variable::moves() && copies_ == behind) return;
  std::lock_guard lock(MovingMutex());
  for (size_t i = 0; i < variables_.size(); ++i) {
    variables_[i]->Mirror(replicas_->devices(), parts_[i]);
    variables_[i]->CatchUp();
  }
  moves_ = Variable::moves();
  copies_ = behind;
}

std::shared_ptr<Executable> CompiledGraph::For(const Binding& binding) {
  MoveVariables();
  return Find(binding, 0, 0);
}

std::shared_ptr<const Executable> CompiledGraph::Latest() const {
  std::lock_guard lock(mutex_);
  return cache_.empty() ? nullptr : cache_.front().executables[0];
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
std::shared_ptr<Executable> CompiledGraph::Repeat(std::span<const Tensor> inputs, int replica) {
  std::lock_guard lock(mutex_);
  if (cache_.empty()) return nullptr;
  Specialisation& last = cache_.front();
  const std::shared_ptr<Executable>& executable = last.executables[static_cast<size_t>(replica)];
  if (executable == nullptr) return nullptr;
  const std::vector<ValueType>& types = last.plan->inputs;
  bool same = types.size() == inputs.size();
  for (size_t i = 0; same && i < types.size(); ++i) {
    same = types[i].dtype == inputs[i].dtype() && types[i].shape == inputs[i].shape();
  }
  if (!same) return nullptr;
  ++last.calls;
  return executable;
}

std::shared_ptr<Executable> CompiledGraph::ForInputs(std::span<const Tensor> inputs, int replica) {
  if (auto executable = Repeat(inputs, replica)) return executable;
  std::vector<ValueType> types;
  for (const Tensor& t : inputs) types.push_back({t.dtype(), t.shape()});
  Binding binding;
  std::string why;
  if (!Bind(types, &binding, &why)) {
    const std::string who = replicas_ == nullptr ? "" : StrCat(" on replica ", replica);
    Fail(ErrorCode::kInvalidArgument, "compiled function", who, ": ", why);
  }
  return Find(binding, 1, replica);
}

void CompiledGraph::Run(std::span<const Tensor> inputs, std::vector<Tensor>* outputs, bool debug) {
  OSTRIA_CHECK(replicas_ == nullptr, "a graph of replicas is run by RunReplicas");
  MoveVariables();
  const std::shared_ptr<Executable> executable = ForInputs(inputs, 0);
  if (debug)
    executable->RunDebug(inputs, outputs);
  else
    executable->Run(inputs, outputs);
}

std::vector<std::shared_ptr<Executable>> CompiledGraph::ForReplicas(
    std::span<const std::vector<Tensor>> inputs) {
  OSTRIA_CHECK(replicas_ != nullptr && inputs.size() == replicas_->devices().size());
  MirrorVariables();
  std::vector<std::shared_ptr<Executable>> executables;
  for (int r = 0; r < replicas_->size(); ++r) {
    executables.push_back(ForInputs(inputs[static_cast<size_t>(r)], r));
  }
  return executables;
}

void CompiledGraph::RunReplicas(std::span<const std::vector<Tensor>> inputs,
                                std::vector<std::vector<Tensor>>* outputs, bool debug) {
  const std::vector<std::shared_ptr<Executable>> executables = ForReplicas(inputs);
  const std::vector<std::vector<Tensor>> near = FromOtherDevices(inputs, replicas_->devices());
  if (!near.empty()) inputs = near;
  outputs->resize(executables.size());
  RunAll([&](int replica) {
    const auto r = static_cast<size_t>(replica);
    if (debug)
      executables[r]->RunDebug(inputs[r], &(*outputs)[r]);
    else
      executables[r]->Run(inputs[r], &(*outputs)[r]);
  });
  if (debug) CheckCopies();
}

// What makes copies differ is a value that replicas did not agree on.
void CompiledGraph::CheckCopies() const {
  for (const auto& v : variables_) {
    if (v->copies() == Copies::kSummed || v->parts().any()) continue;
    const Tensor first = v->SnapshotCopy(0);
    for (int c = 1; c < v->num_copies(); ++c) {
      if (std::memcmp(first.raw(), v->SnapshotCopy(c).raw(), static_cast<size_t>(first.bytes())) ==
          0) {
        continue;
      }
      Fail(ErrorCode::kDistributed, "variable '", v->name(), "' differs between ",
           ToString(v->device(0)), " and ", ToString(v->device(c)),
           " after the step; assign what all replicas agree on, such as an all_reduce of it, or "
           "make it with aggregation='sum' where each adds its part");
    }
  }
}

void CompiledGraph::RunAll(FunctionRef<void(int)> fn) {
  try {
    replicas_->Run(fn);
  } catch (...) {  // copy 0 is what users see
    for (const auto& v : variables_) v->MarkBehind();
    throw;
  }
}

std::pair<std::shared_ptr<Executable>, std::vector<double>> CompiledGraph::ProfileReplicas(
    std::span<const std::vector<Tensor>> inputs, int runs) {
  const std::vector<std::shared_ptr<Executable>> executables = ForReplicas(inputs);
  const std::vector<std::vector<Tensor>> near = FromOtherDevices(inputs, replicas_->devices());
  if (!near.empty()) inputs = near;
  std::vector<std::vector<double>> ns(executables.size());
  RunAll([&](int replica) {
    const auto r = static_cast<size_t>(replica);
    ns[r] = executables[r]->Profile(inputs[r], runs);
  });
  return {executables[0], std::move(ns[0])};
}

}  // namespace ostria
