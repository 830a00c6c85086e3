// SPDX-License-Identifier: Apache-2.0
// Products of bfloat16: those of the library, where the CPU has instructions for them, and those of
// rounded operands in float32, which stand in elsewhere. Both against float64, and each other.
#include "backend/cpu/simd/cpu_isa.h"
#include "tests/unit/backend/cpu/evaluate.h"

namespace ostria::cpu {
namespace {

using Ints = std::vector<int64_t>;

constexpr double kRounding = 0x1p-8;  // of bfloat16, by half of its last place

bool CpuHasBf16Products() {
  AllowBf16Products(true);
  return HasBf16Products();
}

#define SKIP_WITHOUT_BF16_PRODUCTS()                                               \
  if (!CpuHasBf16Products()) {                                                     \
    GTEST_SKIP() << "this CPU has no AVX512_BF16 (or OSTRIA_ISA forbids AVX-512)"; \
  }

// Matrix [m, k] times [k, n], with a bias where `activation` is given.
NodeCase Product(int64_t m, int64_t n, int64_t k, bool ta, bool tb, const char* activation,
                 bool widen = false) {
  NodeCase node{&ops::kMatmul,
                {{DType::kBFloat16, ta ? Shape{k, m} : Shape{m, k}},
                 {DType::kBFloat16, tb ? Shape{n, k} : Shape{k, n}}},
                {ta, tb}};
  if (activation != nullptr) {
    node.op = &ops::kMatmulFused;
    node.inputs.push_back({DType::kBFloat16, {n}});
    node.attrs.insert(node.attrs.end(), {std::string(activation), widen});
  }
  return node;
}

struct Images {
  int64_t n, size, c, o, k, stride = 1, pad = 0, groups = 1;
  int64_t result() const { return (size + 2 * pad - k) / stride + 1; }
};

NodeCase Convolution(const Images& s, const OpDef& op) {
  const ValueType image{DType::kBFloat16, {s.n, s.size, s.size, s.c}},
      kernel{DType::kBFloat16, {s.o, s.k, s.k, s.c / s.groups}},
      result{DType::kBFloat16, {s.n, s.result(), s.result(), s.o}};
  NodeCase node{&op,
                {image, kernel},
                {Ints{s.stride, s.stride}, Ints{s.pad, s.pad, s.pad, s.pad}, Ints{1, 1}, s.groups}};
  if (&op == &ops::kConvGradInput) {
    node.inputs = {result, kernel};
    node.attrs.emplace_back(Shape{s.size, s.size});
  } else if (&op == &ops::kConvGradFilter) {
    node.inputs = {image, result};
    node.attrs.emplace_back(Shape{s.k, s.k});
  } else if (&op == &ops::kConvFused) {
    node.inputs.push_back({DType::kBFloat16, {s.o}});
    node.inputs.push_back(result);
    node.attrs.emplace_back(std::string("relu"));
  }
  return node;
}

std::vector<NodeCase> Nodes() {
  std::vector<NodeCase> nodes;
  const int64_t sizes[][3] = {{1, 70, 33}, {64, 1, 40}, {9, 12, 1}, {71, 229, 13}, {96, 64, 256}};
  for (const auto& s : sizes) {
    for (int t = 0; t < 4; ++t) {
      nodes.push_back(Product(s[0], s[1], s[2], t & 1, t & 2, nullptr));
    }
    for (const char* name : {"none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"}) {
      nodes.push_back(Product(s[0], s[1], s[2], false, false, name));
    }
  }
  nodes.push_back({&ops::kMatmul,
                   {{DType::kBFloat16, {3, 1, 5, 7}}, {DType::kBFloat16, {2, 7, 18}}},
                   {false, false}});
  for (const Images& s : {Images{2, 9, 3, 5, 3}, Images{2, 14, 16, 32, 3, 1, 1},
                          Images{1, 11, 8, 24, 5, 2, 1}, Images{2, 10, 32, 32, 3, 1, 1, 4}}) {
    for (const OpDef* op :
         {&ops::kConv2d, &ops::kConvFused, &ops::kConvGradInput, &ops::kConvGradFilter}) {
      nodes.push_back(Convolution(s, *op));
    }
  }
  return nodes;
}

// Numbers that are bfloat16.
Values RoundedInputs(const NodeCase& node) {
  Values out;
  for (const Tensor& t : ToTensors(node, RandomInputs(node, 5))) out.push_back(ToValues(t));
  return out;
}

std::vector<double> InFloat64(NodeCase node, const Values& inputs) {
  for (ValueType& type : node.inputs) type.dtype = DType::kFloat64;
  return ToValues(EvaluateNode(*node.op, node.attrs, ToTensors(node, inputs), false)[0]);
}

std::vector<double> Emulated(const NodeCase& node, const Values& inputs) {
  return ToValues(EvaluateNode(*node.op, node.attrs, ToTensors(node, inputs), true)[0]);
}

std::string Text(const NodeCase& node) {
  std::string out = StrCat(node.op->name);
  for (const ValueType& type : node.inputs) out += StrCat(" ", ToString(type));
  return out;
}

ImplRun Library(const NodeCase& node, const Values& inputs, int threads) {
  for (ImplRun& run : RunAll(CpuBackend()->Kernels(), node, inputs, threads)) {
    if (run.impl == "onednn") return std::move(run);
  }
  return {};
}

TEST(Bfloat16, EmulatedProductsAreRoundedOnce) {
  for (const NodeCase& node : Nodes()) {
    const Values inputs = RoundedInputs(node);
    ExpectNear(Emulated(node, inputs), InFloat64(node, inputs), kRounding, Text(node));
  }
}

TEST(Bfloat16, TheLibrarysProductsAreThoseOfTheEmulation) {
  SKIP_WITHOUT_BF16_PRODUCTS();
  for (const NodeCase& node : Nodes()) {
    const Values inputs = RoundedInputs(node);
    const auto want = InFloat64(node, inputs), emulated = Emulated(node, inputs);
    for (int threads : {1, 2}) {
      const ImplRun run = Library(node, inputs, threads);
      ASSERT_TRUE(run.ran) << Text(node) << ": " << run.reason;
      EXPECT_NE(run.detail.find("bf16"), std::string::npos) << Text(node) << ": " << run.detail;
      EXPECT_EQ(run.detail.find("ref"), std::string::npos) << Text(node) << ": " << run.detail;
      ExpectNear(run.outputs[0], want, kRounding, Text(node));
      // Sums in another order may round to the neighbour.
      ExpectNear(run.outputs[0], emulated, 2 * kRounding, Text(node) + ", emulated");
    }
  }
}

// As the library sums them, and as the emulation does.
TEST(Bfloat16, WidenedProductsAreNotRounded) {
  for (bool ta : {false, true}) {
    const NodeCase node = Product(71, 229, 130, ta, false, "tanh", true);
    const Values inputs = RoundedInputs(node);
    NodeCase exact = node;
    exact.attrs.back() = false;
    const auto want = InFloat64(exact, inputs);
    EXPECT_EQ(node.outputs()[0].dtype, DType::kFloat32);
    ExpectNear(Emulated(node, inputs), want, 1e-4, "emulated");
    AllowBf16Products(true);
    if (!HasBf16Products()) continue;
    const ImplRun run = Library(node, inputs, 1);
    ASSERT_TRUE(run.ran) << run.reason;
    ExpectNear(run.outputs[0], want, 1e-4, run.detail);
  }
}

TEST(Bfloat16, BitsDependOnThreadsNoMoreThanThoseOfFloat32) {
  SKIP_WITHOUT_BF16_PRODUCTS();
  int same = 0;
  for (const NodeCase& node : Nodes()) {
    NodeCase wide = node;
    for (ValueType& type : wide.inputs) type.dtype = DType::kFloat32;
    const Values inputs = RoundedInputs(node);
    const ImplRun one = Library(wide, inputs, 1), two = Library(wide, inputs, 2);
    if (!one.ran || one.outputs != two.outputs) continue;
    ++same;
    EXPECT_EQ(Library(node, inputs, 1).outputs, Library(node, inputs, 2).outputs) << Text(node);
  }
  EXPECT_GT(same, 0);
}

TEST(Bfloat16, ProductsAreRefusedWithoutInstructionsForThem) {
  const Isa before = CurrentIsa();
  const NodeCase nodes[] = {Product(8, 16, 4, false, false, nullptr),
                            Convolution({2, 9, 3, 5, 3}, ops::kConv2d)};
  const auto expect_refused = [&] {
    EXPECT_FALSE(HasBf16Products());
    for (const NodeCase& node : nodes) {
      const ImplRun run = Library(node, RoundedInputs(node), 1);
      EXPECT_FALSE(run.ran);
      EXPECT_NE(run.reason.find("bfloat16 needs instructions of AVX512_BF16"), std::string::npos)
          << run.reason;
    }
  };
  AllowBf16Products(false);
  expect_refused();
  AllowBf16Products(true);
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2}) {
    SetIsa(isa);
    expect_refused();
  }
  SetIsa(before);
  NodeCase half = nodes[0];
  for (ValueType& type : half.inputs) type.dtype = DType::kFloat16;
  EXPECT_EQ(Library(half, RoundedInputs(half), 1).reason,
            "is for float32 and bfloat16, not float16");
}

TEST(Bfloat16, SmallGroupsStayInFloat32) {
  SKIP_WITHOUT_BF16_PRODUCTS();
  const auto reason = [](const Images& s, const OpDef& op) {
    const NodeCase node = Convolution(s, op);
    return Library(node, RoundedInputs(node), 1).reason;
  };
  const Images pairs{2, 10, 64, 64, 3, 1, 1, 32};
  for (const OpDef* op : {&ops::kConv2d, &ops::kConvGradInput, &ops::kConvGradFilter}) {
    EXPECT_EQ(reason(pairs, *op), "groups of 2 channels are slower in bfloat16");
  }
  // Each channel by itself, which the library knows, but not backwards with strides.
  EXPECT_EQ(reason({2, 10, 64, 64, 3, 1, 1, 64}, ops::kConv2d), "");
  EXPECT_EQ(reason({2, 10, 64, 64, 3, 2, 1, 64}, ops::kConvGradInput),
            "groups of 1 channels are slower in bfloat16");
}

}  // namespace
}  // namespace ostria::cpu
