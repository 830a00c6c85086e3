// SPDX-License-Identifier: Apache-2.0
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

constexpr DType kFloats[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64};

Tensor Key(int64_t seed, int64_t step) {
  Tensor t = Tensor::Empty(DType::kInt64, {2});
  t.data<int64_t>()[0] = seed;
  t.data<int64_t>()[1] = step;
  return t;
}
Tensor Offset(int64_t row) { return Tensor::Scalar(DType::kInt64, static_cast<double>(row)); }

void ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs,
                   const std::vector<Tensor>& inputs) {
  const Tensor want = EvaluateOnCpu(op, attrs, inputs)[0];
  ExpectClose(EvaluateOnCuda(op, attrs, inputs)[0], want, 0);
}

// Rows of 3, so that most offsets begin within a block of words; several blocks of threads.
TEST(CudaRandom, DrawsTheNumbersOfTheCpu) {
  for (const DType dtype : kFloats) {
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{0, 3}, Shape{71, 229}, Shape{7, 3}}) {
      for (const int64_t row : {0, 1, 2, 1234567}) {
        const std::vector<Tensor> in = {Key(0x123456789abcdef, 17 + (int64_t{3} << 40)),
                                        Offset(row)};
        const auto attrs = [&](double a, double b) {
          return std::vector<Attr>{shape, dtype, a, b, int64_t{5}};
        };
        ExpectTheCpus(ops::kRandomUniform, attrs(-1.5, 2.25), in);
        ExpectTheCpus(ops::kRandomNormal, attrs(0.5, 3), in);
        ExpectTheCpus(ops::kTruncatedNormal, attrs(-0.1, 0.02), in);
      }
    }
  }
}

TEST(CudaRandom, DropsWhatTheCpuDrops) {
  for (const DType dtype : kFloats) {
    const Tensor x = RandomTensor(dtype, {71, 23}, -2, 2, 1);
    for (const double rate : {0.0, 0.1, 0.5, 0.999, 1 - 1e-12}) {
      for (const int64_t row : {0, 3}) {
        ExpectTheCpus(ops::kDropout, {rate, int64_t{9}}, {x, Key(42, 7), Offset(row)});
      }
    }
  }
}

// More numbers than threads, where exchanges wait for each other, and fewer.
TEST(CudaRandom, PermutesAsTheCpu) {
  for (const int64_t n : {0, 1, 2, 3, 100, 512, 513, 3001}) {
    for (const int64_t seed : {1, 2}) {
      ExpectTheCpus(ops::kRandomPermutation, {n, int64_t{3}}, {Key(seed, 1)});
    }
  }
}

}  // namespace
}  // namespace ostria
