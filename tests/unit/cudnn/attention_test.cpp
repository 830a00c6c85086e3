// SPDX-License-Identifier: Apache-2.0
// Attention as GPT-2, BERT and models with grouped heads have it, forward and backward.
#include "backend/cuda/cudnn/nodes.h"
#include "cudnn/real.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

struct Attention {
  std::string_view name;
  int64_t batch, length, heads, kv_heads, dim;
  bool causal;
};
constexpr Attention kAttentions[] = {
    {"GPT-2", 16, 1024, 12, 12, 64, true},        {"GPT-2 XL", 4, 1024, 25, 25, 64, true},
    {"BERT base", 32, 384, 12, 12, 64, false},    {"BERT large", 32, 512, 16, 16, 64, false},
    {"grouped heads", 2, 2048, 32, 8, 128, true}, {"odd length", 3, 71, 4, 4, 64, true},
};

std::vector<Attr> Attrs(bool causal, double dropout = 0, bool masked = false,
                        bool lengths = false) {
  return {causal, 0.0, dropout, int64_t{0}, masked, lengths};
}

std::string Table(const DeviceProps& device) {
  std::string out;
  for (const Attention& a : kAttentions) {
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      const ValueType q{dtype, {a.batch, a.length, a.heads, a.dim}},
          kv{dtype, {a.batch, a.length, a.kv_heads, a.dim}},
          lse{DType::kFloat32, {a.batch, a.heads, a.length}};
      std::vector<Attr> attrs = Attrs(a.causal);
      out += StrCat(dtype, " ", a.name,
                    " forward: ", PlanOf(ops::kAttention, attrs, {q, kv, kv}, device), "\n");
      attrs.push_back(false);
      out += StrCat(dtype, " ", a.name, " gradient: ",
                    PlanOf(ops::kAttentionGrad, attrs, {q, q, lse, q, kv, kv}, device), "\n");
      const ValueType qkv{dtype, {a.batch, a.length, (a.heads + 2 * a.kv_heads) * a.dim}};
      attrs = {a.causal, 0.0, a.heads, a.kv_heads};
      out += StrCat(dtype, " ", a.name,
                    " packed forward: ", PlanOf(ops::kAttentionPacked, attrs, {qkv}, device), "\n");
      out += StrCat(dtype, " ", a.name, " packed gradient: ",
                    PlanOf(ops::kAttentionPackedGrad, attrs, {q, q, lse, qkv}, device), "\n");
    }
  }
  return out;
}

TEST(CudnnAttention, PlansTransformers) {
  OSTRIA_NEEDS_CUDNN();
  const std::string table = Table(DeviceNamed("h100"));
  EXPECT_EQ(table.find("no:"), std::string::npos);
  EXPECT_EQ(table, Table(DeviceNamed("h200")));
  ExpectGolden("attention", table);
}

// Our draws come as a mask, whose place is in the workspace.
TEST(CudnnAttention, TakesAMaskForDropout) {
  OSTRIA_NEEDS_CUDNN();
  constexpr Attention kDropping[] = {
      {"GPT-2", 16, 1024, 12, 12, 64, true},
      {"BERT base", 32, 384, 12, 12, 64, false},
      {"grouped heads", 2, 2048, 32, 8, 128, true},
      {"all keys", 2, 512, 16, 4, 128, false},
      {"few", 1, 8, 2, 1, 64, true},
  };
  const ValueType key{DType::kInt64, {2}}, offset{DType::kInt64, {}};
  const auto table = [&](DeviceProps device) {
    std::string out;
    for (const Attention& a : kDropping) {
      for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
        const ValueType q{dtype, {a.batch, a.length, a.heads, a.dim}},
            kv{dtype, {a.batch, a.length, a.kv_heads, a.dim}},
            lse{DType::kFloat32, {a.batch, a.heads, a.length}};
        std::vector<Attr> attrs = Attrs(a.causal, 0.1);
        out += StrCat(dtype, " ", a.name, " forward: ",
                      PlanOf(ops::kAttention, attrs, {q, kv, kv, key, offset}, device), "\n");
        attrs.push_back(false);
        for (const bool deterministic : {true, false}) {
          device.deterministic = deterministic;
          out += StrCat(
              dtype, " ", a.name, deterministic ? "" : " any order", " gradient: ",
              PlanOf(ops::kAttentionGrad, attrs, {q, q, lse, q, kv, kv, key, offset}, device),
              "\n");
        }
      }
    }
    return out;
  };
  const std::string got = table(DeviceNamed("h100"));
  EXPECT_EQ(got.find("no:"), std::string::npos);
  EXPECT_EQ(got, table(DeviceNamed("h200")));
  ExpectGolden("attention_dropout", got);
}

TEST(CudnnAttention, SumsInAnyOrderWithLessMemory) {
  OSTRIA_NEEDS_CUDNN();
  DeviceProps device = DeviceNamed("h100");
  device.deterministic = false;
  const ValueType q{DType::kBFloat16, {16, 1024, 12, 64}}, lse{DType::kFloat32, {16, 12, 1024}};
  std::vector<Attr> attrs = Attrs(true);
  attrs.push_back(false);
  EXPECT_EQ(PlanOf(ops::kAttentionGrad, attrs, {q, q, lse, q, q, q}, device),
            "engine 6, compiled at run time, 3 offered, workspace 51118336");
}

TEST(CudnnAttention, RefusesWhatWouldDiffer) {
  const DeviceProps device;
  const ValueType q{DType::kBFloat16, {2, 8, 4, 64}}, key{DType::kInt64, {2}},
      offset{DType::kInt64, {}}, mask{DType::kBool, {2, 1, 1, 8}}, lengths{DType::kInt32, {2}};
  const auto why = [&](const std::vector<Attr>& attrs, std::vector<ValueType> options) {
    options.insert(options.begin(), {q, q, q});
    return DescribeAttention(TestNode(ops::kAttention, attrs, options, device).desc()).refusal;
  };
  EXPECT_EQ(why(Attrs(true), {}), "");
  EXPECT_EQ(why(Attrs(true, 0, true), {mask}), "a row that a mask empties would not give zeros");
  EXPECT_EQ(why(Attrs(true, 0.1, true), {mask, key, offset}),
            "a row that a mask empties would not give zeros");
  EXPECT_EQ(why(Attrs(true, 0, false, true), {lengths}), "is not used for sequences with lengths");
}

TEST(CudnnAttention, RefusesMasksOfDropoutThatDoNotFit) {
  const DeviceProps device;
  const auto why = [&](DType dtype, int64_t batch, int64_t length, int64_t keys) {
    const ValueType q{dtype, {batch, length, 4, 64}}, kv{dtype, {batch, keys, 4, 64}},
        key{DType::kInt64, {2}}, offset{DType::kInt64, {}};
    const TestNode node(ops::kAttention, Attrs(true, 0.1), {q, kv, kv, key, offset}, device);
    return DescribeAttention(node.desc()).refusal;
  };
  EXPECT_EQ(why(DType::kBFloat16, 2, 7, 16), "");
  EXPECT_EQ(why(DType::kFloat32, 2, 8, 8), "a dropout mask has 16 bits, as float32 has not");
  EXPECT_EQ(
      why(DType::kFloat16, 2, 8, 71),
      "rows of a dropout mask must begin on 16-byte boundaries: 71 keys are no multiple of 8");
  EXPECT_EQ(why(DType::kFloat16, 64, 1024, 1024), "");
  EXPECT_EQ(why(DType::kFloat16, 64, 1025, 1024),
            "its dropout mask would take 537395200 bytes of workspace, more than 536870912");
}

}  // namespace
}  // namespace ostria::cuda
