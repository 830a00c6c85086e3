// SPDX-License-Identifier: Apache-2.0
// Devices, groups and values that tests of replicas share.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "dist/local.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"

namespace ostria::testing {

using std::chrono::milliseconds;
using VariablePtr = std::shared_ptr<Variable>;

inline DeviceId Cpu(int ordinal) { return {DeviceKind::kCpu, static_cast<int16_t>(ordinal)}; }

inline std::vector<DeviceId> Cpus(int n) {
  std::vector<DeviceId> devices;
  for (int i = 0; i < n; ++i) devices.push_back(Cpu(i));
  return devices;
}

inline std::shared_ptr<ReplicaGroup> Group(int n, milliseconds timeout = milliseconds(5000)) {
  return std::make_shared<ReplicaGroup>(Cpus(n), [n, timeout] {
    std::vector<std::string> names;
    for (int r = 0; r < n; ++r) names.push_back(ToString(Cpu(r)));
    auto ranks = MakeLocalGroup(names);
    for (const auto& rank : ranks) rank->set_timeout(timeout);
    return ranks;
  });
}

inline Tensor Filled(const Shape& shape, float value) {
  Tensor t = Tensor::Empty(DType::kFloat32, shape);
  std::fill_n(t.data<float>(), t.numel(), value);
  return t;
}

inline float First(const Tensor& t) { return t.data<float>()[0]; }

inline VariablePtr Made(float value, Copies copies = Copies::kEqual, DeviceId device = {}) {
  return Variable::Create("w", Filled({100}, value), StateClass::kOther, device, copies);
}

inline Tensor Counting(const Shape& shape) {
  Tensor t = Tensor::Empty(DType::kFloat32, shape);
  std::iota(t.data<float>(), t.data<float>() + t.numel(), 0.0f);
  return t;
}

inline std::vector<float> Numbers(const Tensor& t) {
  return {t.data<float>(), t.data<float>() + t.numel()};
}

inline std::string ErrorOf(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

/// m <- m + the part of x's sum; w <- w + what all parts of m are together, two rows.
inline Graph Dividing(int64_t w, int64_t m) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {100}}, 0);
  const Value whole = g.AddState(w, "w", {DType::kFloat32, {100}}, 0);
  const Value part = g.AddState(m, "m", {DType::kFloat32, {50}}, 0);
  const Value sum = b(ops::kReduceScatter, {x}, {std::string("sum"), int64_t{2}});
  const Value next = b(ops::kAdd, {part, sum});
  g.SetStateOut(1, next);
  g.SetStateOut(0, b(ops::kAdd, {whole, b(ops::kAllGather, {next}, {int64_t{2}})}));
  return g;
}

}  // namespace ostria::testing
