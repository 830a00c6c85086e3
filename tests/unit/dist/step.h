// SPDX-License-Identifier: Apache-2.0
// Steps that several replicas run, for tests: a plan and an executable for each, a thread for each.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/communicator.h"
#include "runtime/executable.h"

namespace ostria {

/// One replica's copies of a step's variables, on its own virtual device.
struct StepReplica {
  std::vector<std::shared_ptr<Variable>> variables;
  std::shared_ptr<const Plan> plan;
  std::unique_ptr<Executable> executable;
  std::vector<Tensor> outputs;
};

Tensor Floats(std::initializer_list<float> values, const Shape& shape);
std::vector<float> ToVector(const Tensor& t);

/// Adds the nodes of a step: gets the graph and its variables as state values.
using BuildFn = std::function<void(Graph& g, std::span<const Value> state)>;

/// `ranks` replicas with variables of these first values. `bind`: symbols of each replica.
std::vector<StepReplica> MakeReplicas(int ranks, const std::vector<Tensor>& initial,
                                      const BuildFn& build,
                                      const std::function<Binding(int rank)>& bind = {},
                                      bool buckets = true);

/// What a communicator was asked for; it does the work of `inner`, or nothing without one.
class Witness final : public Communicator {
 public:
  struct Call {
    std::string what;
    void* data;
    int64_t count;
  };
  explicit Witness(std::unique_ptr<Communicator> inner = nullptr) : inner_(std::move(inner)) {
    calls.reserve(64);
  }
  std::vector<Call> calls;

  int rank() const override { return inner_ == nullptr ? 0 : inner_->rank(); }
  int size() const override { return inner_ == nullptr ? 1 : inner_->size(); }
  std::string_view transport() const override { return "witness"; }
  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder order) override {
    if (record) calls.push_back({std::string(what), data, count});
    if (inner_ != nullptr) inner_->AllReduce(what, data, count, dtype, op, order);
  }
  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder order) override {
    inner_->ReduceScatter(what, blocks, out, count, dtype, op, order);
  }
  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    inner_->AllGather(what, data, bytes);
  }
  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) override {
    inner_->Broadcast(what, data, bytes, root);
  }
  void Barrier(std::string_view what) override { inner_->Barrier(what); }
  void Abort(const std::string& why) override {
    if (inner_ != nullptr) inner_->Abort(why);
  }
  void set_timeout(std::chrono::milliseconds) override {}
  bool record = true;

 private:
  std::unique_ptr<Communicator> inner_;
};

/// Runs a step of every replica, each in its thread with its communicator; returns what each threw.
std::vector<std::string> RunStep(std::vector<StepReplica>& replicas,
                                 const std::vector<std::unique_ptr<Communicator>>& ranks,
                                 const std::function<std::vector<Tensor>(int rank)>& inputs);

}  // namespace ostria
