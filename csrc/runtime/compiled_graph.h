// SPDX-License-Identifier: Apache-2.0
// CompiledGraph: one traced graph and the executables made from it, one per binding of its symbols.
// Keeps the last 16; counts specialisations and says why each was made. Replicas share a plan of
// each size, and have an executable of their own of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/executable.h"
#include "runtime/replica_group.h"

namespace ostria {

struct Specialisation {
  Binding binding;
  std::string why;     // "first call", "batch 37 (was 128)"
  double seconds = 0;  // specialise + passes + plan + build
  int64_t calls = 0;   // of every replica
  std::shared_ptr<const Plan> plan;
  std::vector<std::shared_ptr<Executable>> executables;  // by replica; null before its first run
};

/// Any thread may call it: plans are found under a lock that is never held while one is made or
/// runs.
class CompiledGraph {
 public:
  /// `variables` in the order of graph.state(); the first run moves them to `device`.
  /// `memory_limit` in bytes, 0 = none; `recompute`: see PlanOptions.
  CompiledGraph(Graph graph, std::vector<std::shared_ptr<Variable>> variables, DeviceId device = {},
                int64_t memory_limit = 0, bool recompute = false);
  /// The same for replicas; the first run mirrors `variables` to their devices, or gives each
  /// replica the part of them that `parts`, in the same order, says (none: all of it). `label`:
  /// what the graph is called where its ranks meet, the same on all of them.
  CompiledGraph(Graph graph, std::vector<std::shared_ptr<Variable>> variables,
                std::shared_ptr<ReplicaGroup> replicas, int64_t memory_limit = 0,
                bool recompute = false, std::vector<Parts> parts = {}, std::string label = "");

  const Graph& graph() const { return graph_; }
  std::span<const std::shared_ptr<Variable>> variables() const { return variables_; }

  /// Whether tensors of these types fit the graph's inputs for some binding of its symbols.
  bool Accepts(std::span<const ValueType> inputs) const;
  /// Runs a step. Throws Error when the inputs do not fit.
  void Run(std::span<const Tensor> inputs, std::vector<Tensor>* outputs, bool debug = false);
  /// A step of every replica on inputs of its own, whose sizes may differ: plans are made before
  /// any replica starts. Throws the error that came first, with rank and device; then no replica
  /// has written state, unless the error is one of communication after the first write. `debug`
  /// also compares the copies of variables.
  void RunReplicas(std::span<const std::vector<Tensor>> inputs,
                   std::vector<std::vector<Tensor>>* outputs, bool debug = false);
  /// Executable::Profile of every replica at once: that of replica 0, and its executable.
  std::pair<std::shared_ptr<Executable>, std::vector<double>> ProfileReplicas(
      std::span<const std::vector<Tensor>> inputs, int runs);
  /// The executable for a binding (of replica 0), made if needed: a plan without a run.
  std::shared_ptr<Executable> For(const Binding& binding);
  /// The plan for a device that need not be there: nothing is moved, bound or kept.
  std::shared_ptr<const Plan> PlanFor(const Binding& binding, DeviceProps device) const;
  /// The executable of the last call, nullptr before the first.
  std::shared_ptr<const Executable> Latest() const;

  /// The last used comes first.
  std::vector<Specialisation> specialisations() const;
  int64_t num_specialised() const;

 private:
  bool Bind(std::span<const ValueType> inputs, Binding* binding, std::string* why) const;
  std::shared_ptr<Executable> Repeat(std::span<const Tensor> inputs, int replica);
  /// Repeats, or binds and finds.
  std::shared_ptr<Executable> ForInputs(std::span<const Tensor> inputs, int replica);
  std::vector<std::shared_ptr<Executable>> ForReplicas(std::span<const std::vector<Tensor>> inputs);
  std::shared_ptr<Executable> Find(const Binding& binding, int calls, int replica);
  Specialisation* FindKept(const Binding& binding);
  std::shared_ptr<const Plan> MakePlanFor(const Binding& binding) const;
  std::shared_ptr<Executable> Bound(std::shared_ptr<const Plan> plan, int replica) const;
  bool WritesState() const;
  bool TrainsVariables() const;
  void MoveVariables();
  void MirrorVariables();
  void CheckCopies() const;
  void RunAll(FunctionRef<void(int)> fn);

  Graph graph_;
  std::vector<std::shared_ptr<Variable>> variables_;
  DeviceId device_;
  int64_t memory_limit_;
  bool recompute_;
  std::shared_ptr<ReplicaGroup> replicas_;
  std::vector<Parts> parts_;  // by variable; empty: every replica holds all of each
  std::string label_;         // of CollectivesOf
  bool commits_together_ = false;
  std::atomic<int64_t> moves_{-1};   // Variable::moves() when all were seen on the device
  std::atomic<int64_t> copies_{-1};  // Variable::spreads() or fell_behind() when they were settled
  mutable std::mutex mutex_;         // guards what follows
  std::list<Specialisation> cache_;  // most recently used first
  int64_t num_specialised_ = 0;
};

}  // namespace ostria
