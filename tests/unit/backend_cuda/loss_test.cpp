// SPDX-License-Identifier: Apache-2.0
// Losses beside the CPU's.
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

const DType kFloats[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64};

double Tolerance(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return 2e-3;
    case DType::kBFloat16: return 1e-2;
    case DType::kFloat32: return 2e-6;
    default: return 1e-13;
  }
}

std::vector<Tensor> Rows(DType dtype, DType labels, int64_t rows, int64_t cols) {
  return {RandomTensor(dtype, {rows, cols}, -8, 8, 1),
          RandomTensor(labels, {rows}, 0, static_cast<double>(cols), 2),
          RandomTensor(dtype, {rows}, -1, 1, 3)};
}

// Rows of a warp, of a block, and longer than a block takes at once.
TEST(CudaLoss, IsTheCpus) {
  for (const auto& [rows, cols] : {std::pair{71, 229}, {1, 1}, {9, 10}, {300, 3}, {3, 5003}}) {
    for (const DType dtype : kFloats) {
      SCOPED_TRACE(StrCat(dtype, " ", rows, " x ", cols));
      auto in = Rows(dtype, cols % 2 != 0 ? DType::kInt64 : DType::kInt32, rows, cols);
      const auto grad = EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropyGrad, {}, in);
      const auto want = EvaluateOnCpu(ops::kSparseSoftmaxCrossEntropyGrad, {}, in);
      ExpectClose(grad[0], want[0], Tolerance(dtype));
      ExpectClose(grad[1], want[1], Tolerance(dtype));
      ExpectPlacesDoNotMatter(ops::kSparseSoftmaxCrossEntropyGrad, {}, in, Tolerance(dtype));
      in.pop_back();
      ExpectClose(EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropy, {}, in)[0], grad[1], 0);
      EXPECT_EQ(TakeDataError().step, -1);
    }
  }
}

// Rows of a warp, of a block, and of one of the largest blocks.
TEST(CudaLoss, LogitsOf16BitsHaveRowsInFloat32) {
  for (const auto& [rows, cols] : {std::pair{71, 229}, {5, 1031}, {2, 16391}}) {
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      SCOPED_TRACE(StrCat(dtype, " ", rows, " x ", cols));
      auto in = Rows(dtype, DType::kInt32, rows, cols);
      in[2] = RandomTensor(DType::kFloat32, {rows}, -1, 1, 3);
      const auto grad = EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropyGrad, {}, in);
      const auto want = EvaluateOnCpu(ops::kSparseSoftmaxCrossEntropyGrad, {}, in);
      ASSERT_EQ(grad[0].dtype(), dtype);
      ASSERT_EQ(grad[1].dtype(), DType::kFloat32);
      ExpectClose(grad[0], want[0], Tolerance(dtype));
      ExpectClose(grad[1], want[1], Tolerance(DType::kFloat32));
      ExpectPlacesDoNotMatter(ops::kSparseSoftmaxCrossEntropyGrad, {}, in, Tolerance(dtype));
    }
  }
}

// Rows that are wider than there are classes, as vectors want them and otherwise: what lies behind
// is NaN here, and 0 in the gradient.
TEST(CudaLoss, WhatLiesBehindTheClassesCountsForNothing) {
  const std::vector<Attr> all = {int64_t{-1}};
  for (const auto& [rows, classes, cols] :
       {std::tuple{71, 229, 232}, {9, 10, 17}, {1, 1, 2}, {3, 5003, 5056}}) {
    for (const DType dtype : kFloats) {
      SCOPED_TRACE(StrCat(dtype, " ", rows, " x ", classes, " of ", cols));
      const auto in = Rows(dtype, DType::kInt32, rows, classes);
      std::vector<Tensor> wide = in;
      wide[0] = Tensor::Empty(dtype, {rows, cols});
      std::memset(wide[0].raw(), 0xff, wide[0].bytes());
      const size_t row = static_cast<size_t>(classes) * SizeOf(dtype);
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(static_cast<char*>(wide[0].raw()) + r * cols * SizeOf(dtype),
                    static_cast<const char*>(in[0].raw()) + r * classes * SizeOf(dtype), row);
      }
      const std::vector<Attr> some = {int64_t{classes}};
      const auto want = EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropyGrad, all, in);
      for (const auto& got : {EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropyGrad, some, wide),
                              EvaluateOnCpu(ops::kSparseSoftmaxCrossEntropyGrad, some, wide)}) {
        ExpectClose(got[1], want[1], Tolerance(dtype));
        Tensor cut = Tensor::Empty(dtype, {rows, classes});
        const std::vector<char> zeros(static_cast<size_t>((cols - classes) * SizeOf(dtype)));
        for (int64_t r = 0; r < rows; ++r) {
          const char* from = static_cast<const char*>(got[0].raw()) + r * cols * SizeOf(dtype);
          std::memcpy(static_cast<char*>(cut.raw()) + r * classes * SizeOf(dtype), from, row);
          EXPECT_EQ(std::memcmp(from + row, zeros.data(), zeros.size()), 0) << "row " << r;
        }
        ExpectClose(cut, want[0], Tolerance(dtype));
      }
      ExpectPlacesDoNotMatter(ops::kSparseSoftmaxCrossEntropyGrad, some, wide, Tolerance(dtype));
      wide.pop_back();
      ExpectClose(EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropy, some, wide)[0], want[1],
                  Tolerance(dtype));
      // The classes behind are none.
      wide[1].data<int32_t>()[0] = classes;
      EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropy, some, wide);
      EXPECT_EQ(TakeDataError().high, classes);
    }
  }
}

TEST(CudaLoss, LargeLogitsDoNotOverflow) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const int64_t cols : {4, 2052}) {
    auto in = Rows(DType::kFloat32, DType::kInt64, 3, cols);
    for (int64_t i = 0; i < 3 * cols; ++i) in[0].data<float>()[i] *= 1e4f;
    for (int64_t i = 0; i < cols; ++i) in[0].data<float>()[i] = -infinity;  // but one
    in[0].data<float>()[cols - 1] = 2;
    in[1].data<int64_t>()[0] = cols - 1;
    const auto got = EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropyGrad, {}, in);
    EXPECT_EQ(got[1].data<float>()[0], 0);
    const auto want = EvaluateOnCpu(ops::kSparseSoftmaxCrossEntropyGrad, {}, in);
    ExpectClose(got[0], want[0], 2e-6);
    ExpectClose(got[1], want[1], 2e-6);
  }
}

TEST(CudaLoss, LabelsOutOfRangeAreReported) {
  for (const int64_t cols : {10, 2052}) {
    for (const int64_t bad : {int64_t{-1}, cols}) {
      auto in = Rows(DType::kFloat32, DType::kInt64, 9, cols);
      in[1].data<int64_t>()[4] = bad;
      in.pop_back();
      const auto got = EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropy, {}, in);
      const DataError error = TakeDataError();
      EXPECT_EQ(error.step, 7);
      EXPECT_EQ(error.value, bad);
      EXPECT_EQ(error.low, 0);
      EXPECT_EQ(error.high, cols);
      in[1].data<int64_t>()[4] = bad < 0 ? 0 : cols - 1;
      ExpectClose(got[0], EvaluateOnCuda(ops::kSparseSoftmaxCrossEntropy, {}, in)[0], 0);
      EXPECT_EQ(TakeDataError().step, -1);
    }
  }
}

}  // namespace
}  // namespace ostria
