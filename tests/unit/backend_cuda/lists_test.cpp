// SPDX-License-Identifier: Apache-2.0
// all_finite and global_norm beside the CPU's.
#include <cmath>
#include <limits>

#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

const std::vector<Attr> kNoOuter = {std::vector<int64_t>{}};

// Of every type, one longer than a part, and one that is empty.
std::vector<Tensor> Mixed() {
  std::vector<Tensor> in;
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kFloat64, DType::kBFloat16}) {
    for (const Shape& shape : {Shape{71, 229}, Shape{1}, Shape{0, 3}, Shape{3, 5, 7}, Shape{}}) {
      in.push_back(RandomTensor(dtype, shape, -1, 1, in.size()));
    }
  }
  in.push_back(RandomTensor(DType::kFloat32, {3, 16384 + 5}, -1, 1, 99));
  return in;
}

TEST(CudaLists, NormIsTheCpus) {
  const auto in = Mixed();
  ExpectClose(EvaluateOnCuda(ops::kGlobalNorm, {}, in)[0],
              EvaluateOnCpu(ops::kGlobalNorm, {}, in)[0], 1e-6);
  ExpectPlacesDoNotMatter(ops::kGlobalNorm, {}, in, 1e-6);
}

TEST(CudaLists, NormOfManyTensors) {
  if (!OnFakeDriver()) GTEST_SKIP() << "only the fake driver counts calls";
  std::vector<Tensor> in;
  for (int i = 0; i < 201; ++i) in.push_back(RandomTensor(DType::kFloat32, {i}, -1, 1, 1000 + i));
  const int64_t before = DriverCalls("cuLaunchKernel");
  const auto got = EvaluateOnCuda(ops::kGlobalNorm, {}, in);
  EXPECT_EQ(DriverCalls("cuLaunchKernel") - before, 3);
  ExpectClose(got[0], EvaluateOnCpu(ops::kGlobalNorm, {}, in)[0], 1e-6);
  in.resize(1);  // nothing at all
  EXPECT_EQ(EvaluateOnCuda(ops::kGlobalNorm, {}, in)[0].data<float>()[0], 0);
  EXPECT_TRUE(EvaluateOnCuda(ops::kAllFinite, kNoOuter, in)[0].data<bool>()[0]);
}

TEST(CudaLists, OneElementThatIsNotFiniteIsFound) {
  const double inf = std::numeric_limits<double>::infinity();
  auto in = Mixed();
  EXPECT_TRUE(EvaluateOnCuda(ops::kAllFinite, kNoOuter, in)[0].data<bool>()[0]);
  for (Tensor& t : in) {
    for (const auto& [at, bad] :
         {std::pair{int64_t{0}, inf}, {t.numel() / 2, std::nan("")}, {t.numel() - 1, -inf}}) {
      if (t.numel() == 0) continue;
      DispatchDType(t.dtype(), [&]<class T>(T*) {
        const T kept = t.data<T>()[at];
        if constexpr (std::is_arithmetic_v<T>) {
          t.data<T>()[at] = static_cast<T>(bad);
        } else {
          t.data<T>()[at] = T(static_cast<float>(bad));
        }
        EXPECT_FALSE(EvaluateOnCuda(ops::kAllFinite, kNoOuter, in)[0].data<bool>()[0]);
        t.data<T>()[at] = kept;
      });
    }
  }
}

}  // namespace
}  // namespace ostria
