// SPDX-License-Identifier: Apache-2.0
// The graphs that normalisations become, run by the loops of the fake cuDNN beside the CPU.
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {

Backend* CudaBackend();

namespace {

const DType kFloats[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32};

double Tolerance(DType dtype) {
  return dtype == DType::kFloat16 ? 4e-3 : dtype == DType::kBFloat16 ? 3e-2 : 1e-5;
}

// Returns what the CPU gives.
std::vector<Tensor> ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs,
                                  const std::vector<Tensor>& in, DType dtype) {
  const auto want = EvaluateOnCpu(op, attrs, in);
  const auto got = EvaluateOnCuda(op, attrs, in, "cudnn");
  EXPECT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(StrCat(op.name, " output ", i));
    ExpectClose(got[i], want[i], Tolerance(dtype));
  }
  return want;
}

// Rows, images of one to four axes, of channels that cuDNN has engines for; parameters of x's dtype
// and float32, whose statistics are of their dtype.
TEST(CudnnNorms, BatchNormIsTheCpus) {
  for (const DType dtype : kFloats) {
    for (const DType params : {dtype, DType::kFloat32}) {
      for (const Shape& shape :
           {Shape{71, 24}, {2, 30, 8}, {2, 7, 5, 16}, {2, 3, 4, 5, 8}, {1, 2, 3, 2, 2, 8}}) {
        SCOPED_TRACE(StrCat(dtype, " ", shape, ", parameters ", params));
        const Shape channels = {shape[shape.rank() - 1]};
        const Tensor x = RandomTensor(dtype, shape, -1, 3, 1),
                     g = RandomTensor(dtype, shape, -1, 1, 2);
        const Tensor scale = RandomTensor(params, channels, 0.5, 2, 3);
        const Tensor bias = RandomTensor(params, channels, -1, 1, 4);
        const auto y = ExpectTheCpus(ops::kBatchNorm, {0.01}, {x, scale, bias}, dtype);
        ExpectTheCpus(ops::kBatchNormGrad, {0.01}, {g, x, scale, y[1], y[2]}, dtype);
      }
    }
  }
}

TEST(CudnnNorms, RowsAreTheCpus) {
  for (const DType dtype : kFloats) {
    for (const auto& [shape, axes] : {std::pair{Shape{71, 229}, 1},
                                      {{2, 3, 5, 16}, 2},
                                      {{2, 3, 64}, 1},
                                      {{24}, 1},
                                      {{3, 5, 7}, 3},
                                      {{9, 1}, 1}}) {
      SCOPED_TRACE(StrCat(dtype, " ", shape, ", axes ", axes));
      const Shape row(shape.dims().last(static_cast<size_t>(axes)));
      const Tensor x = RandomTensor(dtype, shape, -1, 3, 1),
                   g = RandomTensor(dtype, shape, -1, 1, 2);
      const Tensor scale = RandomTensor(dtype, row, 0.5, 2, 3),
                   bias = RandomTensor(dtype, row, -1, 1, 4);
      const auto layer =
          ExpectTheCpus(ops::kLayerNorm, {0.01, int64_t{axes}}, {x, scale, bias}, dtype);
      ExpectTheCpus(ops::kLayerNormGrad, {int64_t{axes}}, {g, x, scale, layer[1], layer[2]}, dtype);
      const auto rms = ExpectTheCpus(ops::kRmsNorm, {0.01, int64_t{axes}}, {x, scale}, dtype);
      ExpectTheCpus(ops::kRmsNormGrad, {int64_t{axes}}, {g, x, scale, rms[1]}, dtype);
    }
  }
}

// A variance that epsilon hides comes back as one that is not below zero.
TEST(CudnnNorms, AVarianceOfZeroStaysZero) {
  const Tensor x = RandomTensor(DType::kFloat32, {64, 8}, 3, 3, 1);
  const Tensor one = RandomTensor(DType::kFloat32, {8}, 1, 1, 2);
  for (const double epsilon : {0.0, 1e-5, 0.3}) {
    const Tensor var = EvaluateOnCuda(ops::kBatchNorm, {epsilon}, {x, one, one}, "cudnn")[2];
    for (int i = 0; i < 8; ++i) {
      EXPECT_GE(var.data<float>()[i], 0);
      EXPECT_NEAR(var.data<float>()[i], 0, 1e-6 * epsilon);
    }
  }
}

TEST(CudnnNorms, DoublesAreRefused) {
  const Tensor x = RandomTensor(DType::kFloat64, {4, 8}, -1, 1, 1),
               one = RandomTensor(DType::kFloat64, {8}, 1, 1, 2);
  std::vector<MemDesc> in, out;
  for (const Tensor& t : {x, one, one}) in.push_back(MemDesc::Dense(t.dtype(), t.shape()));
  for (const Tensor& t : {x, one, one}) out.push_back(MemDesc::Dense(t.dtype(), t.shape()));
  const DeviceProps device = Sm90();
  const std::vector<Attr> attrs = {0.01};
  const NodeDesc node{&ops::kBatchNorm, attrs, in, out, &device};
  for (const KernelDef& k : CudaBackend()->Kernels()) {
    if (k.op != &ops::kBatchNorm || k.impl != "cudnn") continue;
    EXPECT_EQ(k.supports(node).reason, "computes in float32");
  }
}

}  // namespace
}  // namespace ostria
