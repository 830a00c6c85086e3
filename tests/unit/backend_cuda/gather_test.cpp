// SPDX-License-Identifier: Apache-2.0
// Rows that indices pick, beside the CPU's.
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

TEST(CudaGather, IsTheCpusAlongEveryAxis) {
  for (const DType dtype : {DType::kBool, DType::kInt64, DType::kFloat16, DType::kBFloat16,
                            DType::kFloat32, DType::kFloat64}) {
    for (const Shape& shape : {Shape{71, 229}, Shape{5, 7, 16}, Shape{1, 1}, Shape{9, 600}}) {
      for (int64_t axis = 0; axis < shape.rank(); ++axis) {
        SCOPED_TRACE(StrCat(dtype, " ", shape, " along ", axis));
        const auto size = static_cast<double>(shape[static_cast<int>(axis)].value());
        const std::vector<Tensor> in = {RandomTensor(dtype, shape, 0, 2, 1),
                                        RandomTensor(DType::kInt32, {3, 11}, -size, size, 2)};
        ExpectClose(EvaluateOnCuda(ops::kGather, {axis}, in)[0],
                    EvaluateOnCpu(ops::kGather, {axis}, in)[0], 0);
        ExpectPlacesDoNotMatter(ops::kGather, {axis}, in);
      }
    }
  }
  EXPECT_EQ(TakeDataError().step, -1);
}

TEST(CudaGather, TakesNothingAndRowsOfNothing) {
  for (const auto& [shape, ids] :
       {std::pair{Shape{4, 3}, Shape{0}}, {Shape{4, 0}, Shape{2}}, {Shape{0, 3}, Shape{0}}}) {
    const std::vector<Tensor> in = {RandomTensor(DType::kFloat32, shape, 0, 1, 1),
                                    RandomTensor(DType::kInt64, ids, 0, 4, 2)};
    EXPECT_EQ(EvaluateOnCuda(ops::kGather, {int64_t{0}}, in)[0].numel(), 0);
  }
}

TEST(CudaGather, IndicesOutOfRangeAreReportedAndTakeTheNearest) {
  for (const int64_t bad : {-6, 5}) {
    const std::vector<Tensor> x = {RandomTensor(DType::kFloat32, {5, 3}, 0, 1, 1),
                                   RandomTensor(DType::kInt64, {7}, 0, 5, 2)};
    x[1].data<int64_t>()[3] = bad;
    const auto got = EvaluateOnCuda(ops::kGather, {int64_t{0}}, x);
    const DataError error = TakeDataError();
    EXPECT_EQ(error.step, 7);
    EXPECT_EQ(error.value, bad);
    EXPECT_EQ(error.low, -5);
    EXPECT_EQ(error.high, 5);
    x[1].data<int64_t>()[3] = bad < 0 ? 0 : 4;
    ExpectClose(got[0], EvaluateOnCpu(ops::kGather, {int64_t{0}}, x)[0], 0);
  }
}

TEST(CudaGather, JoinsRowsOfTablesAndTensors) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kFloat64}) {
    const auto x = [&](Shape shape) { return RandomTensor(dtype, shape, -1, 1, shape.numel()); };
    const auto ids = [](Shape shape, double n) {
      return RandomTensor(DType::kInt64, shape, -n, n, static_cast<uint64_t>(n));
    };
    // Beside each other, and below each other.
    const std::vector<Tensor> rows = {x({40, 16}),  ids({71}, 40), x({71, 13}), x({9, 7}),
                                      ids({71}, 9), x({71, 1}),    x({5, 16}),  ids({71}, 5)};
    const std::vector<Tensor> stacked = {x({40, 16}), ids({3, 5}, 40), x({2, 5, 16}), x({9, 16}),
                                         ids({4, 5}, 9)};
    for (const int64_t axis : {1, -1}) {
      const std::vector<Attr> attrs = {Ints{1, 0, 1, 0, 1}, axis};
      ExpectClose(EvaluateOnCuda(ops::kGatherConcat, attrs, rows)[0],
                  EvaluateOnCpu(ops::kGatherConcat, attrs, rows)[0], 0);
      ExpectPlacesDoNotMatter(ops::kGatherConcat, attrs, rows);
    }
    const std::vector<Attr> attrs = {Ints{1, 0, 1}, int64_t{0}};
    ExpectClose(EvaluateOnCuda(ops::kGatherConcat, attrs, stacked)[0],
                EvaluateOnCpu(ops::kGatherConcat, attrs, stacked)[0], 0);
  }
}

}  // namespace
}  // namespace ostria
