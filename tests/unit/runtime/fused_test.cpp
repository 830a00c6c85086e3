// SPDX-License-Identifier: Apache-2.0
// Random groups, run as the reference says, as one fused node, and op by op: all agree, with any
// number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/backend.h"
#include "loop/build.h"
#include "runtime/executable.h"
#include "runtime/lower.h"
#include "tests/unit/loop/random_body.h"

namespace ostria {
namespace {

std::vector<Tensor> RunNode(const std::shared_ptr<const Graph>& body,
                            const std::vector<Tensor>& inputs, std::string_view impl,
                            int threads = 2) {
  Graph g;
  Builder b(g, 0);
  std::vector<Value> operands;
  for (Value v : body->inputs()) operands.push_back(g.AddInput("x", body->type(v), 0));
  for (Value v : b.Multi(ops::kFused, operands, {body})) g.AddOutput("y", v);
  PlanOptions options{.optimize = false};
  options.device = FindBackend(DeviceKind::kCpu).Props(0);
  options.device.threads = threads;
  PinKernel(ops::kFused, impl);
  const auto plan = MakePlan(g, options);
  PinKernel(ops::kFused, "");
  CheckRaces(*plan);
  Executable executable(plan, {}, {});
  std::vector<Tensor> outputs;
  executable.Run(inputs, &outputs);
  return outputs;
}

double At(const Tensor& t, int64_t i) {
  return DispatchDType(t.dtype(), [&]<class T>(T*) {
    if constexpr (std::is_arithmetic_v<T>)
      return static_cast<double>(static_cast<const T*>(t.raw())[i]);
    else
      return static_cast<double>(static_cast<float>(static_cast<const T*>(t.raw())[i]));
  });
}

// Relative to the largest element: what the table of tolerances allows, times the program's length.
double ToleranceOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat64: return 1e-10;
    case DType::kFloat32: return 2e-5;
    default: return 2e-2;
  }
}

void ExpectSameBits(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_EQ(std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())), 0) << what;
}

void ExpectClose(const Tensor& got, const Tensor& want, const std::string& what) {
  ASSERT_EQ(got.dtype(), want.dtype()) << what;
  double largest = 1;
  const int64_t n = want.shape().numel();
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(At(want, i)));
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_NEAR(At(got, i), At(want, i), largest * ToleranceOf(want.dtype()))
        << what << " at " << i;
  }
}

bool StoresAHalfFold(const LoopProgram& p) {
  return std::any_of(p.outputs.begin(), p.outputs.end(), [&](const LoopOperand& o) {
    return p.code[o.value].kind == LoopKind::kFoldRows && o.dtype != LoopDType(o.dtype);
  });
}

TEST(Fused, RandomGroupsAgreeWithTheReferenceAndWithSingleOps) {
  int interpreted = 0, half_folds = 0;
  uint32_t seed = 0;
  for (; interpreted < 2000; ++seed) {
    ASSERT_LT(seed, 2200);
    RandomBody random(seed);
    const auto body = std::make_shared<const Graph>(random.Make());
    const auto program = BuildLoop(*body);
    if (!program) continue;  // normalised over other axes than its folds
    std::vector<Tensor> inputs, reference;
    std::vector<const void*> in;
    std::vector<void*> out;
    for (Value v : body->inputs()) inputs.push_back(random.Data(body->type(v)));
    for (Value v : body->outputs())
      reference.push_back(Tensor::Empty(body->dtype(v), body->shape(v)));
    for (const Tensor& t : inputs) in.push_back(t.raw());
    for (const Tensor& t : reference) out.push_back(t.raw());
    RunReference(*program, in, out);

    const std::string what = StrCat("seed ", seed, "\n", Print(*program));
    const std::vector<Tensor> single = RunNode(body, inputs, "decompose");
    std::vector<Tensor> fused, serial;
    try {
      fused = RunNode(body, inputs, "tiles");
      serial = RunNode(body, inputs, "tiles", 1);
      ++interpreted;
      half_folds += StoresAHalfFold(*program);
    } catch (const Error&) {  // a space of a form the interpreter does not take
      fused = serial = single;
    }
    for (size_t k = 0; k < reference.size(); ++k) {
      ExpectClose(single[k], reference[k], StrCat("single ops, output ", k, ", ", what));
      ExpectClose(fused[k], reference[k], StrCat("fused, output ", k, ", ", what));
      ExpectSameBits(fused[k], serial[k], StrCat("threads, output ", k, ", ", what));
    }
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(half_folds, 50);
}

}  // namespace
}  // namespace ostria
