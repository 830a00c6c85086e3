// SPDX-License-Identifier: Apache-2.0
// Runs every implementation of an op on one random node, directly through Supports, Prepare and
// Launch, and compares each with a reference written in double. Memory around every operand is
// guarded.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "backend/kernel.h"
#include "base/parallel.h"
#include "core/tensor.h"
#include "ir/graph.h"

namespace ostria::cpu {

/// One operand with poisoned bytes on both sides.
class Guarded {
 public:
  explicit Guarded(const MemDesc& desc)
      : desc_(desc), bytes_(desc.bytes() + 2 * kGuard + 64, 0xa5) {}
  void* data() {
    auto p = reinterpret_cast<uintptr_t>(bytes_.data()) + kGuard;
    return reinterpret_cast<void*>((p + 63) / 64 * 64);
  }
  bool intact() {
    const auto* begin = static_cast<uint8_t*>(data());
    for (const uint8_t* p = bytes_.data(); p < begin; ++p) {
      if (*p != 0xa5) return false;
    }
    for (const uint8_t* p = begin + desc_.bytes(); p < bytes_.data() + bytes_.size(); ++p) {
      if (*p != 0xa5) return false;
    }
    return true;
  }
  std::vector<double> values() {
    std::vector<double> out;
    DispatchDType(desc_.dtype, [&]<class T>(T*) {
      const T* p = static_cast<const T*>(data());
      for (int64_t i = 0; i < desc_.numel(); ++i) {
        if constexpr (sizeof(T) == 2 && !std::is_integral_v<T>) {
          out.push_back(static_cast<float>(p[i]));
        } else {
          out.push_back(static_cast<double>(p[i]));
        }
      }
    });
    return out;
  }
  void set(const std::vector<double>& values) {
    DispatchDType(desc_.dtype, [&]<class T>(T*) {
      T* p = static_cast<T*>(data());
      for (size_t i = 0; i < values.size(); ++i) {
        if constexpr (sizeof(T) == 2 && !std::is_integral_v<T>) {
          p[i] = T(static_cast<float>(values[i]));
        } else {
          p[i] = static_cast<T>(values[i]);
        }
      }
    });
  }
  const MemDesc& desc() const { return desc_; }

 private:
  static constexpr int64_t kGuard = 64;
  MemDesc desc_;
  std::vector<uint8_t> bytes_;
};

using Values = std::vector<std::vector<double>>;  // one vector per operand

/// A node with dense operands.
struct NodeCase {
  const OpDef* op = nullptr;
  std::vector<ValueType> inputs;
  std::vector<Attr> attrs;
  std::vector<ValueType> outputs() const {
    std::vector<ValueType> out;
    InferTypes(*op, inputs, attrs, &out);
    return out;
  }
};

/// Normal floats; integers in -4..4.
inline Values RandomInputs(const NodeCase& node, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<double> normal;
  std::uniform_int_distribution<int> integer(-4, 4);
  Values out;
  for (const ValueType& type : node.inputs) {
    std::vector<double>& values = out.emplace_back(type.shape.numel());
    for (double& v : values) {
      v = IsFloat(type.dtype) ? static_cast<float>(normal(rng))
          : type.dtype == DType::kBool || KindOf(type.dtype) == DTypeKind::kUnsigned
              ? std::abs(integer(rng)) % 2
              : integer(rng);
    }
  }
  return out;
}

struct ImplRun {
  std::string impl, reason;  // reason: why it does not support the node
  std::string detail;        // what explain() would show
  bool ran = false;
  Values outputs;
};

/// Every implementation of the op in `kernels`, on `threads` threads.
inline std::vector<ImplRun> RunAll(std::span<const KernelDef> kernels, const NodeCase& node,
                                   const Values& inputs, int threads) {
  std::vector<MemDesc> in, out;
  for (const ValueType& t : node.inputs) in.push_back(MemDesc::Dense(t.dtype, t.shape));
  for (const ValueType& t : node.outputs()) out.push_back(MemDesc::Dense(t.dtype, t.shape));
  DeviceProps props;
  props.threads = threads;
  const NodeDesc desc{node.op, node.attrs, in, out, &props};
  const int before = NumThreads();
  SetNumThreads(threads);
  std::vector<ImplRun> runs;
  for (const KernelDef& kernel : kernels) {
    if (kernel.op != node.op) continue;
    ImplRun run;
    run.impl = kernel.impl;
    const Support support = kernel.supports(desc);
    run.reason = support.reason;
    run.ran = support.ok;
    EXPECT_EQ(support.ok, support.reason.empty());
    if (support.ok) {
      const std::unique_ptr<KernelState> state = kernel.prepare(desc);
      run.detail = state->detail;
      std::vector<std::unique_ptr<Guarded>> operands;
      std::vector<void*> ptrs;
      for (size_t i = 0; i < in.size(); ++i) {
        operands.push_back(std::make_unique<Guarded>(in[i]));
        operands.back()->set(inputs[i]);
      }
      for (const MemDesc& d : out) operands.push_back(std::make_unique<Guarded>(d));
      MemDesc scratch = MemDesc::Dense(DType::kUInt8, {state->workspace_bytes});
      operands.push_back(std::make_unique<Guarded>(scratch));
      for (auto& o : operands) ptrs.push_back(o->data());
      kernel.launch(*state, ptrs.data());
      for (size_t i = 0; i < operands.size(); ++i) {
        EXPECT_TRUE(operands[i]->intact()) << run.impl << " wrote outside operand " << i;
        if (i < in.size()) {
          Guarded fresh(in[i]);
          fresh.set(inputs[i]);
          EXPECT_EQ(0, std::memcmp(fresh.data(), ptrs[i], in[i].bytes()))
              << run.impl << " changed input " << i;
        } else if (i + 1 < operands.size()) {
          run.outputs.push_back(operands[i]->values());
        }
      }
    }
    runs.push_back(std::move(run));
  }
  SetNumThreads(before);
  return runs;
}

/// |got - want| <= tolerance * max(1, |want|), element by element; equal when both are infinite.
inline void ExpectNear(const std::vector<double>& got, const std::vector<double>& want,
                       double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    const bool close = got[i] == want[i] ||
                       std::abs(got[i] - want[i]) <= tolerance * std::max(1.0, std::abs(want[i]));
    ASSERT_TRUE(close) << what << " at " << i << ": got " << got[i] << ", want " << want[i];
  }
}

using Reference = std::function<Values(const NodeCase&, const Values&)>;

/// Runs all implementations on one and two threads against `reference`; returns who ran.
inline std::set<std::string> Conform(std::span<const KernelDef> kernels, const NodeCase& node,
                                     const Values& inputs, const Reference& reference,
                                     double tolerance) {
  std::set<std::string> ran;
  const Values want = reference(node, inputs);
  for (int threads : {1, 2}) {
    for (const ImplRun& run : RunAll(kernels, node, inputs, threads)) {
      if (!run.ran) continue;
      ran.insert(run.impl);
      for (size_t i = 0; i < want.size(); ++i) {
        ExpectNear(
            run.outputs[i], want[i], tolerance,
            StrCat(node.op->name, " by ", run.impl, ", ", threads, " thread(s), output ", i));
      }
    }
  }
  EXPECT_FALSE(ran.empty()) << node.op->name << ": no implementation";
  return ran;
}

}  // namespace ostria::cpu
