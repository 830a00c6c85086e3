// SPDX-License-Identifier: Apache-2.0
// Every implementation of matmul and matmul_fused against a triple loop in double.
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "ops/ops.h"
#include "tests/unit/backend/cpu/conformance.h"

namespace ostria::cpu {
namespace {

double Activate(const std::string& name, double x) {
  if (name == "relu") return std::max(0.0, x);
  if (name == "tanh") return std::tanh(x);
  if (name == "sigmoid") return 1 / (1 + std::exp(-x));
  if (name == "gelu") return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  if (name == "gelu_tanh") {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  if (name == "silu") return x / (1 + std::exp(-x));
  return x;
}

// One index of a broadcast operand from the output's batch index.
int64_t BatchIndex(const Shape& operand, const Shape& out, int64_t index) {
  int64_t at = 0, scale = 1;
  for (int i = out.rank() - 3, j = operand.rank() - 3; i >= 0; --i, --j) {
    const int64_t coordinate = index % out[i].value();
    index /= out[i].value();
    if (j < 0) continue;
    if (operand[j].value() != 1) at += coordinate * scale;
    scale *= operand[j].value();
  }
  return at;
}

Values ReferenceProduct(const NodeCase& node, const Values& in) {
  const Shape &a = node.inputs[0].shape, &b = node.inputs[1].shape, y = node.outputs()[0].shape;
  const bool ta = std::get<bool>(node.attrs[0]), tb = std::get<bool>(node.attrs[1]);
  const int64_t m = y[y.rank() - 2].value(), n = y[y.rank() - 1].value();
  const int64_t k = a[a.rank() - (ta ? 2 : 1)].value();
  std::vector<double> out(y.numel());
  for (int64_t t = 0; t < (m * n == 0 ? 0 : y.numel() / (m * n)); ++t) {
    const double* pa = in[0].data() + BatchIndex(a, y, t) * m * k;
    const double* pb = in[1].data() + BatchIndex(b, y, t) * k * n;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l) {
          sum += pa[ta ? l * m + i : i * k + l] * pb[tb ? j * k + l : l * n + j];
        }
        if (in.size() == 3) sum += in[2][j];
        if (node.attrs.size() > 2) sum = Activate(std::get<std::string>(node.attrs[2]), sum);
        out[(t * m + i) * n + j] = sum;
      }
    }
  }
  return {out};
}

NodeCase Product(DType dtype, Shape a, Shape b, bool ta, bool tb) {
  return {&ops::kMatmul, {{dtype, a}, {dtype, b}}, {ta, tb}};
}

Shape Matrix(int64_t rows, int64_t cols, bool transposed) {
  return transposed ? Shape{cols, rows} : Shape{rows, cols};
}

TEST(Matmul, EverySizeAndTranspose) {
  std::set<std::string> ran;
  const int64_t sizes[][3] = {{1, 1, 1},    {1, 256, 784}, {1, 10, 256},  {256, 1, 33},
                              {17, 1, 5},   {5, 71, 1},    {71, 16, 1},   {3, 2, 9},
                              {71, 13, 29}, {61, 65, 129}, {32, 256, 64}, {128, 10, 256},
                              {1, 23, 1},   {2, 130, 7}};
  for (const auto& s : sizes) {
    for (int t = 0; t < 4; ++t) {
      for (DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt32, DType::kUInt16}) {
        const bool ta = t & 1, tb = t & 2;
        const NodeCase node =
            Product(dtype, Matrix(s[0], s[2], ta), Matrix(s[2], s[1], tb), ta, tb);
        SCOPED_TRACE(StrCat(s[0], "x", s[1], "x", s[2], " t", t, " ", dtype));
        const double tolerance = dtype == DType::kFloat32 ? 1e-5 * std::sqrt(s[2] + 10.0) : 1e-11;
        ran.merge(Conform(LinalgKernels(), node, RandomInputs(node, 7 * s[0] + t), ReferenceProduct,
                          tolerance));
      }
    }
  }
  EXPECT_EQ(ran, (std::set<std::string>{"row", "outer", "onednn", "blocks", "loops"}));
}

TEST(Matmul, BatchesBroadcast) {
  const std::pair<Shape, Shape> shapes[] = {
      {{3, 5, 7}, {3, 7, 4}},    {{3, 5, 7}, {7, 4}},
      {{5, 7}, {3, 7, 4}},       {{2, 1, 5, 7}, {3, 7, 4}},
      {{2, 3, 5, 7}, {3, 7, 4}}, {{2, 3, 5, 7}, {2, 1, 7, 4}},
      {{4, 1, 9}, {4, 9, 1}},    {{2, 3, 5, 1}, {2, 3, 1, 4}},
      {{1, 5, 7}, {1, 7, 4}},    {{2, 1, 1, 5, 7}, {2, 3, 4, 7, 6}}};
  for (const auto& [a, b] : shapes) {
    for (DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt64}) {
      SCOPED_TRACE(StrCat(a, " ", b, " ", dtype));
      const NodeCase node = Product(dtype, a, b, false, false);
      Conform(LinalgKernels(), node, RandomInputs(node, 3), ReferenceProduct,
              dtype == DType::kFloat32 ? 1e-5 : 1e-12);
    }
  }
}

TEST(Matmul, EmptyInnerSizeGivesZeros) {
  const NodeCase node = Product(DType::kFloat32, {3, 0}, {0, 20}, false, false);
  Conform(LinalgKernels(), node, RandomInputs(node, 1), ReferenceProduct, 0);
}

TEST(Matmul, StridedOperands) {
  // a is every second row and column of a larger matrix: what a planner's view may look like.
  const int64_t m = 6, k = 5, n = 20;
  std::vector<float> a(4 * m * k), b(k * n), y(m * n), want(m * n);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 13) - 6;
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i % 7) - 3;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t l = 0; l < k; ++l) want[i * n + j] += a[i * 2 * 2 * k + 2 * l] * b[l * n + j];
    }
  }
  MemDesc da = MemDesc::Dense(DType::kFloat32, {m, k});
  da.strides[0] = 4 * k;
  da.strides[1] = 2;
  const MemDesc in[] = {da, MemDesc::Dense(DType::kFloat32, {k, n})};
  const MemDesc out[] = {MemDesc::Dense(DType::kFloat32, {m, n})};
  const std::vector<Attr> attrs = {false, false};
  const NodeDesc desc{&ops::kMatmul, attrs, in, out, nullptr};
  int ran = 0;
  for (const KernelDef& kernel : LinalgKernels()) {
    if (kernel.op != &ops::kMatmul || !kernel.supports(desc).ok) continue;
    ++ran;
    const auto state = kernel.prepare(desc);
    std::vector<char> workspace(state->workspace_bytes);
    void* ptrs[] = {a.data(), b.data(), y.data(), workspace.data()};
    std::fill(y.begin(), y.end(), -1.f);
    kernel.launch(*state, ptrs);
    EXPECT_EQ(y, want) << kernel.impl;
  }
  EXPECT_GE(ran, 1);
}

TEST(MatmulFused, BiasAndActivation) {
  std::set<std::string> ran;
  for (const char* activation : {"none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"}) {
    for (bool bias : {false, true}) {
      for (const auto& s :
           {std::array<int64_t, 3>{1, 256, 64}, {33, 70, 19}, {7, 16, 1}, {9, 1, 12}}) {
        for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
          NodeCase node{&ops::kMatmulFused,
                        {{dtype, {s[0], s[2]}}, {dtype, {s[1], s[2]}}},
                        {false, true, std::string(activation), false}};
          if (bias) node.inputs.push_back({dtype, {s[1]}});
          SCOPED_TRACE(StrCat(activation, " ", bias, " ", s[0], "x", s[1], " ", dtype));
          ran.merge(Conform(LinalgKernels(), node, RandomInputs(node, 11), ReferenceProduct,
                            dtype == DType::kFloat32 ? 5e-5 : 1e-11));
        }
      }
    }
  }
  EXPECT_EQ(ran, (std::set<std::string>{"row", "outer", "onednn", "blocks"}));
}

TEST(Matmul, EveryInstructionSet) {
  const Isa before = CurrentIsa();
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > BestIsa()) continue;
    SetIsa(isa);
    for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
      for (const auto& s : {std::array<int64_t, 3>{1, 203, 37}, {67, 71, 131}, {20, 37, 1}}) {
        for (int t = 0; t < 4; ++t) {
          const bool ta = t & 1, tb = t & 2;
          const NodeCase node =
              Product(dtype, Matrix(s[0], s[2], ta), Matrix(s[2], s[1], tb), ta, tb);
          Conform(LinalgKernels(), node, RandomInputs(node, t), ReferenceProduct,
                  dtype == DType::kFloat32 ? 2e-4 : 1e-11);
        }
      }
    }
  }
  SetIsa(before);
}

TEST(Matmul, ReferenceImplementationsAreRejected) {
  // Strides along neither axis: oneDNN could only fall back to its reference loops.
  MemDesc da = MemDesc::Dense(DType::kFloat32, {64, 64});
  da.strides[0] = 256;
  da.strides[1] = 2;
  const MemDesc in[] = {da, MemDesc::Dense(DType::kFloat32, {64, 64})};
  const MemDesc out[] = {MemDesc::Dense(DType::kFloat32, {64, 64})};
  const std::vector<Attr> attrs = {false, false};
  const NodeDesc desc{&ops::kMatmul, attrs, in, out, nullptr};
  for (const KernelDef& kernel : LinalgKernels()) {
    if (kernel.op != &ops::kMatmul || kernel.impl != "onednn") continue;
    const Support support = kernel.supports(desc);
    EXPECT_FALSE(support.ok);
    EXPECT_NE(support.reason.find("oneDNN"), std::string::npos) << support.reason;
  }
}

}  // namespace
}  // namespace ostria::cpu
