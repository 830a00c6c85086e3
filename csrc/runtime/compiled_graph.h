// SPDX-License-Identifier: Apache-2.0
// CompiledGraph: one traced graph and the executables made from it, one per binding of its symbols.
// Keeps the last 16; counts specialisations and says why each was made.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
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
  std::unique_ptr<Executable> executable;
};

class CompiledGraph {
 public:
  /// `variables` in the order of graph.state(). `memory_limit` in bytes, 0 = none.
  CompiledGraph(Graph graph, std::vector<std::shared_ptr<Variable>> variables, DeviceId device = {},
                int64_t memory_limit = 0);

  const Graph& graph() const { return graph_; }
  std::span<const std::shared_ptr<Variable>> variables() const { return variables_; }

  /// Whether tensors of these types fit the graph's inputs for some binding of its symbols.
  bool Accepts(std::span<const ValueType> inputs) const;
  /// Runs a step. Throws Error when the inputs do not fit.
  void Run(std::span<const Tensor> inputs, std::vector<Tensor>* outputs, bool debug = false);
  /// The executable for a binding, made if needed: a plan without a run.
  Executable& For(const Binding& binding);
  Specialisation& Latest() { return cache_.front(); }

  const std::list<Specialisation>& specialisations() const { return cache_; }
  int64_t num_specialised() const { return num_specialised_; }

 private:
  bool Bind(std::span<const ValueType> inputs, Binding* binding, std::string* why) const;
  Specialisation& Find(const Binding& binding);
  bool TrainsVariables() const;

  Graph graph_;
  std::vector<std::shared_ptr<Variable>> variables_;
  DeviceId device_;
  int64_t memory_limit_;
  std::list<Specialisation> cache_;  // most recently used first
  int64_t num_specialised_ = 0;
};

}  // namespace ostria
