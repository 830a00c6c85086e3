// SPDX-License-Identifier: Apache-2.0
// CompiledGraph: one traced graph and the executables made from it, one per binding of its symbols.
// Keeps the last 16; counts specialisations and says why each was made.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "runtime/executable.h"

namespace ostria {

struct Specialisation {
  Binding binding;
  std::string why;     // "first call", "batch 37 (was 128)"
  double seconds = 0;  // specialise + passes + plan + build
  int64_t calls = 0;
  std::shared_ptr<Executable> executable;
};

/// Any thread may call it: plans are found under a lock that is never held while one is made or
/// runs.
class CompiledGraph {
 public:
  /// `variables` in the order of graph.state(); the first run moves them to `device`.
  /// `memory_limit` in bytes, 0 = none; `recompute`: see PlanOptions.
  CompiledGraph(Graph graph, std::vector<std::shared_ptr<Variable>> variables, DeviceId device = {},
                int64_t memory_limit = 0, bool recompute = false);

  const Graph& graph() const { return graph_; }
  std::span<const std::shared_ptr<Variable>> variables() const { return variables_; }

  /// Whether tensors of these types fit the graph's inputs for some binding of its symbols.
  bool Accepts(std::span<const ValueType> inputs) const;
  /// Runs a step. Throws Error when the inputs do not fit.
  void Run(std::span<const Tensor> inputs, std::vector<Tensor>* outputs, bool debug = false);
  /// The executable for a binding, made if needed: a plan without a run.
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
  std::shared_ptr<Executable> Repeat(std::span<const Tensor> inputs);
  std::shared_ptr<Executable> Find(const Binding& binding, int calls);
  std::shared_ptr<Executable> FindKept(const Binding& binding, int calls);
  std::shared_ptr<Executable> Make(const Binding& binding) const;
  bool TrainsVariables() const;
  void MoveVariables();

  Graph graph_;
  std::vector<std::shared_ptr<Variable>> variables_;
  DeviceId device_;
  int64_t memory_limit_;
  bool recompute_;
  std::atomic<int64_t> moves_{-1};   // Variable::moves() when all were seen on the device
  mutable std::mutex mutex_;         // guards what follows
  std::list<Specialisation> cache_;  // most recently used first
  int64_t num_specialised_ = 0;
};

}  // namespace ostria
