// SPDX-License-Identifier: Apache-2.0
// What products end in besides a bias and an activation, on the (fake) GPU beside the CPU: by the
// library and by kernels of ours.
#include <cstring>

#include "backend_cuda/evaluate.h"
#include "ops/common/epilogue.h"
#include "ops/ops.h"

namespace ostria {

Backend* CudaBackend();

namespace {

using ops::EpilogueDef;
using ops::EpilogueOperand;
using ops::EpilogueResult;

constexpr std::string_view kImpls[] = {"cublaslt", "cublaslt_kernel", "cublaslt_epilogue"};

double ToleranceOf(DType dtype) {
  return dtype == DType::kFloat16 ? 4e-3 : dtype == DType::kBFloat16 ? 3.2e-2 : 4e-5;
}

const EpilogueDef& Def(std::string_view name) {
  ops::Epilogue epilogue = ops::Epilogue::kNone;
  EXPECT_TRUE(ops::ParseEpilogue(name, &epilogue)) << name;
  return ops::DefOf(epilogue);
}

// Of masks, only bits that stand for elements.
void ExpectSameBits(const Tensor& got, const Tensor& want, int64_t cols) {
  ASSERT_TRUE(got.shape() == want.shape());
  const int64_t bytes = ops::MaskBytes(cols);
  for (int64_t row = 0; row < want.numel() / bytes; ++row) {
    for (int64_t j = 0; j < cols; ++j) {
      const int64_t at = row * bytes + j / 8;
      const auto bit = [&](const Tensor& t) { return t.data<uint8_t>()[at] >> (j % 8) & 1; };
      ASSERT_EQ(bit(got), bit(want)) << "row " << row << " element " << j;
    }
  }
}

struct Case {
  Shape a, b;
  bool transpose_a = false, transpose_b = false;
};

std::vector<Tensor> InputsFor(const EpilogueDef& e, DType dtype, const Case& c, const Shape& y,
                              bool bias) {
  std::vector<Tensor> inputs = {RandomTensor(dtype, c.a, -1, 1, 1),
                                RandomTensor(dtype, c.b, -1, 1, 2)};
  const Dim n = y[y.rank() - 1];
  if (e.third == EpilogueOperand::kBias && bias) {
    inputs.push_back(RandomTensor(dtype, {n}, -1, 1, 3));
  } else if (e.third == EpilogueOperand::kPreactivation) {
    inputs.push_back(RandomTensor(dtype, y, -3, 3, 3));
  } else if (e.third == EpilogueOperand::kMask) {
    Shape mask = y;
    mask[mask.rank() - 1] = ops::MaskBytes(n.value());
    inputs.push_back(RandomTensor(DType::kUInt8, mask, 0, 256, 3));
  }
  return inputs;
}

void Compare(std::string_view name, DType dtype, const Case& c, bool bias = false,
             bool widen = false) {
  const EpilogueDef& e = Def(name);
  Shape y = c.a;
  y[y.rank() - 2] = c.a[c.a.rank() - (c.transpose_a ? 1 : 2)];
  y[y.rank() - 1] = c.b[c.b.rank() - (c.transpose_b ? 2 : 1)];
  const int64_t cols = y[y.rank() - 1].value();
  const std::vector<Tensor> inputs = InputsFor(e, dtype, c, y, bias);
  const std::vector<Attr> attrs = {c.transpose_a, c.transpose_b, std::string(name), widen};
  const auto want = EvaluateOnCpu(ops::kMatmulFused, attrs, inputs);
  const bool reads_or_writes_mask =
      e.third == EpilogueOperand::kMask || e.second == EpilogueResult::kMask;
  for (const std::string_view impl : kImpls) {
    for (const int64_t skew : {0, 1}) {
      // A mask's rows are words of 128 bits, so none begins elsewhere; kernels of ours do not care.
      if (skew != 0 && reads_or_writes_mask && impl != "cublaslt_kernel") continue;
      SCOPED_TRACE(
          StrCat(name, " ", dtype, " ", c.a, " ", c.b, bias ? " bias " : " ", impl, " ", skew));
      const auto got =
          EvaluateOnCuda(ops::kMatmulFused, attrs, inputs, {.impl = impl, .skew = skew});
      ASSERT_EQ(got.size(), want.size());
      ExpectClose(got[0], want[0], widen ? 4e-5 : ToleranceOf(dtype));
      if (e.second == EpilogueResult::kMask) {
        ExpectSameBits(got[1], want[1], cols);
      } else if (got.size() > 1) {
        ExpectClose(got[1], want[1], widen ? 4e-5 : ToleranceOf(dtype));
      }
    }
  }
}

constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

TEST(CudaEpilogue, ReluKeepsItsMask) {
  for (const DType dtype : kTypes) {
    for (const bool bias : {false, true}) {
      Compare("relu_mask", dtype, {{37, 19}, {19, 24}}, bias);
      Compare("relu_mask", dtype, {{9, 5}, {5, 229}}, bias);
      Compare("relu_mask", dtype, {{2, 7, 5}, {5, 16}}, bias);    // rows of one product
      Compare("relu_mask", dtype, {{3, 7, 5}, {3, 5, 9}}, bias);  // a batch
    }
  }
}

// As relu_grad has it.
TEST(CudaEpilogue, ReluHasNoSlopeAtZero) {
  for (const DType dtype : kTypes) {
    std::vector<Tensor> inputs = {RandomTensor(dtype, {16, 19}, -1, 1, 1),
                                  RandomTensor(dtype, {19, 24}, -1, 1, 2)};
    std::memset(inputs[0].raw(), 0, static_cast<size_t>(inputs[0].bytes() / 2));
    const std::vector<Attr> attrs = {false, false, std::string("relu_mask"), false};
    const auto want = EvaluateOnCpu(ops::kMatmulFused, attrs, inputs);
    for (const std::string_view impl : kImpls) {
      SCOPED_TRACE(StrCat(dtype, " ", impl));
      const auto got = EvaluateOnCuda(ops::kMatmulFused, attrs, inputs, impl);
      ExpectSameBits(got[1], want[1], 24);
      EXPECT_EQ(got[1].data<uint8_t>()[0], 0);
    }
  }
}

TEST(CudaEpilogue, GeluKeepsWhatItWasOf) {
  for (const DType dtype : kTypes) {
    for (const bool bias : {false, true}) {
      Compare("gelu_tanh_kept", dtype, {{37, 19}, {19, 24}}, bias);
      Compare("gelu_tanh_kept", dtype, {{2, 7, 5}, {5, 24}}, bias);
    }
  }
}

TEST(CudaEpilogue, GradientsOfActivations) {
  for (const DType dtype : kTypes) {
    for (const std::string name : {"relu_grad", "gelu_tanh_grad"}) {
      Compare(name, dtype, {{37, 19}, {19, 24}});
      Compare(name, dtype, {{2, 7, 5}, {24, 5}, false, true});
      Compare(name, dtype, {{3, 7, 5}, {3, 5, 24}});
    }
    Compare("relu_grad", dtype, {{9, 5}, {5, 229}});
  }
}

TEST(CudaEpilogue, GradientsOfActivationsAndBiases) {
  for (const DType dtype : kTypes) {
    for (const std::string name : {"relu_grad_sum", "gelu_tanh_grad_sum"}) {
      Compare(name, dtype, {{37, 19}, {19, 24}});
      Compare(name, dtype, {{2, 7, 5}, {24, 5}, false, true});
      Compare(name, dtype, {{301, 3}, {3, 24}});  // more rows than one piece of a sum
    }
    Compare("relu_grad_sum", dtype, {{9, 5}, {5, 229}});
  }
}

TEST(CudaEpilogue, GradientsOfBiasesBesideThoseOfWeights) {
  for (const std::string name : {"sum_a", "sum_b"}) {
    Compare(name, DType::kFloat32, {{71, 19}, {71, 37}, true, false});
  }
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    for (const std::string name : {"sum_a", "sum_b"}) {
      for (const bool ta : {false, true}) {
        for (const bool tb : {false, true}) {
          const Case c = {ta ? Shape{71, 29} : Shape{29, 71}, tb ? Shape{29, 71} : Shape{71, 29},
                          ta, tb};
          Compare(name, dtype, c);
          if (SizeOf(dtype) == 2) Compare(name, dtype, c, false, true);
        }
      }
    }
  }
}

std::string Refusal(std::string_view name, DType dtype, const Case& c, std::string_view impl) {
  const EpilogueDef& e = Def(name);
  Shape y = c.a;
  y[y.rank() - 1] = c.b[c.b.rank() - 1];
  Graph g;
  std::vector<Value> operands;
  std::vector<MemDesc> in, out;
  for (const Tensor& t : InputsFor(e, dtype, c, y, true)) {
    operands.push_back(g.AddInput(StrCat("x", operands.size()), {t.dtype(), t.shape()}, 0));
    in.push_back(MemDesc::Dense(t.dtype(), t.shape()));
  }
  const NodeId n =
      g.AddNode(ops::kMatmulFused, operands, {false, false, std::string(name), false}, 0);
  for (int i = 0; i < g.num_results(n); ++i) {
    out.push_back(MemDesc::Dense(g.dtype(g.result(n, i)), g.shape(g.result(n, i))));
  }
  const DeviceProps device = Sm90();
  for (const KernelDef& k : CudaBackend()->Kernels()) {
    if (k.op == &ops::kMatmulFused && k.impl == impl) {
      return k.supports({&ops::kMatmulFused, g.attrs(n), in, out, &device}).reason;
    }
  }
  return "there is no such implementation";
}

// None of its ways is taken, so that passes join nothing and loops do the rest.
TEST(CudaEpilogue, WhatTheLibraryRefusesIsNoNode) {
  for (const std::string_view impl : kImpls) {
    EXPECT_EQ(Refusal("relu_grad_sum", DType::kFloat32, {{9, 5}, {5, 229}}, impl), "");
    EXPECT_EQ(Refusal("gelu_tanh_grad_sum", DType::kFloat32, {{9, 5}, {5, 229}}, impl),
              "the auxiliary matrix has 229 elements from column to column; they must be a "
              "multiple of 8 that is no less than 229");
    EXPECT_EQ(Refusal("relu_mask", DType::kFloat64, {{9, 5}, {5, 16}}, impl),
              "no auxiliary matrix beside float64");
    EXPECT_EQ(Refusal("relu_grad_sum", DType::kFloat32, {{3, 9, 5}, {3, 5, 16}}, impl),
              "gradients of a bias are for one product, not a batch of 3");
    EXPECT_EQ(Refusal("relu_grad", DType::kFloat32, {{2, 3, 9, 5}, {3, 5, 16}}, impl),
              "several products have no common auxiliary matrix or sum");
    EXPECT_EQ(Refusal("relu_grad", DType::kFloat32, {{9, 1}, {1, 16}}, impl),
              "no gradient of an activation behind an outer product");
    EXPECT_EQ(Refusal("relu_mask", DType::kFloat32, {{8, 5}, {5, 16}}, impl),
              "products of at most 8 rows or columns have kernels of their own");
  }
}

}  // namespace
}  // namespace ostria
