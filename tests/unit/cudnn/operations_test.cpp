// SPDX-License-Identifier: Apache-2.0
// What cuDNN has for the normalisations and pools of ResNet-50, GPT-2 and BERT-large: engines that
// are compiled at run time. So the backend's own kernels come first, and these where they are
// pinned.
#include "cudnn/real.h"
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using Ints = std::vector<int64_t>;

constexpr DType kTypes[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32};

// ResNet-50's images, each that differs once; parameters are float32, whatever the image is.
constexpr std::pair<int64_t, int64_t> kImages[] = {{112, 64},  {56, 64},  {56, 256}, {56, 128},
                                                   {28, 128},  {28, 512}, {28, 256}, {14, 256},
                                                   {14, 1024}, {14, 512}, {7, 512},  {7, 2048}};
// Rows of GPT-2 124M and BERT-large.
const Shape kRows[] = {{16, 1024, 768}, {32, 512, 1024}};

class Table {
 public:
  explicit Table(const DeviceProps& device) : device_(device) {}

  void Add(const OpDef& op, const std::vector<Attr>& attrs, const std::vector<ValueType>& inputs) {
    text_ += StrCat(op.name, " of ", inputs[0].dtype, inputs[0].shape, ": ",
                    PlanOf(op, attrs, inputs, device_), "\n");
  }
  void AddBatchNorm(DType dtype, const Shape& shape) {
    const ValueType x{dtype, shape}, p{DType::kFloat32, {shape[shape.rank() - 1]}};
    Add(ops::kBatchNorm, {0.001}, {x, p, p});
    Add(ops::kBatchNormGrad, {0.001}, {x, x, p, p, p});
  }
  void AddRows(DType dtype, const Shape& shape) {
    const ValueType x{dtype, shape}, p{dtype, {shape[2]}}, s{dtype, {shape[0], shape[1]}};
    Add(ops::kLayerNorm, {1e-5, int64_t{1}}, {x, p, p});
    Add(ops::kLayerNormGrad, {int64_t{1}}, {x, x, p, s, s});
    Add(ops::kRmsNorm, {1e-5, int64_t{1}}, {x, p});
    Add(ops::kRmsNormGrad, {int64_t{1}}, {x, x, p, s});
  }
  // A pool of square images, its windows without padding or with as much as keeps sizes.
  void AddPools(DType dtype, const Shape& image, const std::vector<Attr>& attrs) {
    const std::vector<Attr> with_size = ops::PoolWithSize(attrs, image);
    for (const OpDef* op : {&ops::MaxPoolOp(image.rank() - 2), &ops::AvgPoolOp(image.rank() - 2)}) {
      const ValueType x{dtype, image};
      std::vector<ValueType> y;
      InferTypes(*op, std::span(&x, 1), attrs, &y);
      Add(*op, attrs, {x});
      Add(y.size() == 2 ? ops::kMaxPoolGrad : ops::kAvgPoolGrad, with_size, y);
    }
  }
  const std::string& text() const { return text_; }

 private:
  const DeviceProps& device_;
  std::string text_;
};

void ExpectPlans(std::string_view name) {
  const DeviceProps device = DeviceNamed(name);
  Table table(device);
  for (const DType dtype : kTypes) {
    for (const auto& [size, channels] : kImages) {
      table.AddBatchNorm(dtype, {64, size, size, channels});
    }
    for (const Shape& shape : kRows) table.AddRows(dtype, shape);
    table.AddPools(dtype, {64, 112, 112, 64}, {Ints{3, 3}, Ints{2, 2}, Ints(4, 1)});
    table.AddPools(dtype, {64, 7, 7, 2048}, {Ints{7, 7}, Ints{1, 1}, Ints(4, 0)});
    table.AddPools(dtype, {8, 100, 32}, {Ints{3}, Ints{2}, Ints{1, 0}});
    table.AddPools(dtype, {4, 8, 14, 14, 16}, {Ints(3, 2), Ints(3, 2), Ints(6, 0)});
  }
  for (size_t at = 0, end; at < table.text().size(); at = end + 1) {
    end = table.text().find('\n', at);
    const std::string line = table.text().substr(at, end - at);
    EXPECT_NE(line.find("compiled at run time"), std::string::npos) << line;
  }
  ExpectGolden(StrCat("operations_", name), table.text());
}

TEST(CudnnOperations, AreCompiledAtRunTimeOnH100) {
  OSTRIA_NEEDS_CUDNN();
  ExpectPlans("h100");
}

TEST(CudnnOperations, AreCompiledAtRunTimeOnH200) {
  OSTRIA_NEEDS_CUDNN();
  ExpectPlans("h200");
}

// Channels that fill no vectors, windows that are too large, and arithmetic in double.
TEST(CudnnOperations, WhatHasNoEngineIsRefused) {
  OSTRIA_NEEDS_CUDNN();
  const DeviceProps device = DeviceNamed("h100");
  const ValueType p{DType::kFloat32, {3}};
  EXPECT_EQ(PlanOf(ops::kBatchNorm, {0.001}, {{DType::kFloat16, {64, 28, 28, 3}}, p, p}, device),
            "no: cuDNN has no engine for it");
  const ValueType image{DType::kFloat16, {4, 32, 32, 8}};
  EXPECT_EQ(PlanOf(ops::kMaxPool2d, {Ints{12, 12}, Ints{4, 4}, Ints(4, 0)}, {image}, device),
            "no: its index tells 128 positions of a window apart, and there are 144");
  const ValueType x{DType::kFloat64, {8, 16}}, d{DType::kFloat64, {16}};
  EXPECT_EQ(PlanOf(ops::kRmsNorm, {0.001, int64_t{1}}, {x, d}, device), "no: computes in float32");
}

}  // namespace
}  // namespace ostria::cuda
