// SPDX-License-Identifier: Apache-2.0
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

Tensor Numbers(DType dtype, const Shape& shape, const std::vector<int64_t>& values) {
  Tensor t = Tensor::Empty(dtype, shape);
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kInt32) {
      t.data<int32_t>()[i] = static_cast<int32_t>(values[i]);
    } else {
      t.data<int64_t>()[i] = values[i];
    }
  }
  return t;
}

// Six sequences of up to nine steps and four labels: repeats, a class that comes back, no labels,
// no steps, and labels that do not fit.
std::vector<Tensor> Sequences(DType dtype, DType index) {
  return {RandomTensor(dtype, {6, 9, 7}, -3, 3, 1),
          Numbers(index, {6, 4},
                  {1, 2, 2, 1, 3, 1, 6, 3, 5, 5, 5, 1, 4, 1, 1, 1, 2, 2, 2, 2, 1, 2, 3, 4}),
          Numbers(index, {6}, {9, 8, 5, 4, 3, 0}), Numbers(index, {6}, {4, 4, 3, 0, 4, 0})};
}

double ToleranceOf(DType dtype) {
  return dtype == DType::kFloat64 ? 1e-12 : dtype == DType::kFloat32 ? 1e-5 : 0.02;
}

TEST(CudaCtc, LossesAndGradientsAreTheCpus) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64}) {
    for (const DType index : {DType::kInt32, DType::kInt64}) {
      for (const int64_t blank : {0, -7}) {
        SCOPED_TRACE(StrCat(dtype, " ", index, " ", blank));
        std::vector<Tensor> in = Sequences(dtype, index);
        for (const bool zero : {true, false}) {
          const std::vector<Attr> attrs = {blank, zero};
          ExpectClose(EvaluateOnCuda(ops::kCtcLoss, attrs, in)[0],
                      EvaluateOnCpu(ops::kCtcLoss, attrs, in)[0], ToleranceOf(dtype));
        }
        in.push_back(RandomTensor(dtype, {6}, -1, 1, 2));
        const Tensor got = EvaluateOnCuda(ops::kCtcLossGrad, {blank}, in)[0];
        ExpectClose(got, EvaluateOnCpu(ops::kCtcLossGrad, {blank}, in)[0], ToleranceOf(dtype));
        // In another order of threads.
        ExpectClose(EvaluateOnCuda(ops::kCtcLossGrad, {blank}, in)[0], got, 0);
      }
    }
  }
}

// More states than threads.
TEST(CudaCtc, TakesLongLabels) {
  Tensor labels = RandomTensor(DType::kInt32, {1, 150}, 1, 5, 3);
  std::vector<Tensor> in = {RandomTensor(DType::kFloat32, {1, 320, 5}, -1, 1, 4), labels,
                            Numbers(DType::kInt32, {1}, {320}), Numbers(DType::kInt32, {1}, {150})};
  const std::vector<Attr> attrs = {int64_t{0}, false};
  ExpectClose(EvaluateOnCuda(ops::kCtcLoss, attrs, in)[0],
              EvaluateOnCpu(ops::kCtcLoss, attrs, in)[0], 1e-5);
  in.push_back(RandomTensor(DType::kFloat32, {1}, 1, 2, 5));
  ExpectClose(EvaluateOnCuda(ops::kCtcLossGrad, {int64_t{0}}, in)[0],
              EvaluateOnCpu(ops::kCtcLossGrad, {int64_t{0}}, in)[0], 2e-4);
}

TEST(CudaCtc, ReportsWhatIsOutOfRange) {
  const struct {
    int input;
    int64_t at, value, high;
  } cases[] = {{1, 0, 7, 7}, {1, 2, -1, 7}, {1, 1, 0, 7}, {2, 3, 10, 10}, {3, 0, 5, 5}};
  for (const auto& c : cases) {
    std::vector<Tensor> in = Sequences(DType::kFloat32, DType::kInt64);
    in[static_cast<size_t>(c.input)].data<int64_t>()[c.at] = c.value;
    TakeDataError();
    EvaluateOnCuda(ops::kCtcLoss, {int64_t{0}, false}, in);
    const DataError found = TakeDataError();
    EXPECT_EQ(found.step, 7);
    EXPECT_EQ(found.value, c.value);
    EXPECT_EQ(found.high, c.high);
  }
}

}  // namespace
}  // namespace ostria
