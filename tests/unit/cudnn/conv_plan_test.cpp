// SPDX-License-Identifier: Apache-2.0
// Every convolution of ResNet-50 finds an engine, without a GPU.
#include "cudnn/real.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using Ints = std::vector<int64_t>;

// A convolution of square images and kernels.
struct Conv {
  int64_t image, in, out, kernel, stride;
};
// ResNet-50, its strides in the 3x3 convolutions; each that differs once.
constexpr Conv kResNet50[] = {
    {224, 3, 64, 7, 2},     {56, 64, 64, 1, 1},    {56, 64, 64, 3, 1},    {56, 64, 256, 1, 1},
    {56, 256, 64, 1, 1},    {56, 256, 128, 1, 1},  {56, 128, 128, 3, 2},  {28, 128, 512, 1, 1},
    {56, 256, 512, 1, 2},   {28, 512, 128, 1, 1},  {28, 128, 128, 3, 1},  {28, 512, 256, 1, 1},
    {28, 256, 256, 3, 2},   {14, 256, 1024, 1, 1}, {28, 512, 1024, 1, 2}, {14, 1024, 256, 1, 1},
    {14, 256, 256, 3, 1},   {14, 1024, 512, 1, 1}, {14, 512, 512, 3, 2},  {7, 512, 2048, 1, 1},
    {14, 1024, 2048, 1, 2}, {7, 2048, 512, 1, 1},  {7, 512, 512, 3, 1}};

std::string Lines(const Conv& c, DType dtype, int64_t n, const DeviceProps& device) {
  const int64_t pad = c.kernel / 2, to = (c.image + 2 * pad - c.kernel) / c.stride + 1;
  const ValueType x{dtype, {n, c.image, c.image, c.in}}, y{dtype, {n, to, to, c.out}};
  const ValueType w{dtype, {c.out, c.kernel, c.kernel, c.in}};
  const std::vector<Attr> attrs = {Ints{c.stride, c.stride}, Ints{pad, pad, pad, pad}, Ints{1, 1},
                                   int64_t{1}};
  const auto with = [&](Attr last) {
    std::vector<Attr> out = attrs;
    out.push_back(std::move(last));
    return out;
  };
  const std::string name = StrCat(dtype, " ", c.kernel, "x", c.kernel, "/", c.stride, " ", c.in,
                                  "->", c.out, " of ", c.image, "x", c.image, " ");
  std::string out;
  out += StrCat(name, "forward: ", PlanOf(ops::kConv2d, attrs, {x, w}, device), "\n");
  out += StrCat(
      name, "relu: ",
      PlanOf(ops::kConvFused, with(std::string("relu")), {x, w, {dtype, {c.out}}}, device), "\n");
  out += StrCat(name, "input: ",
                PlanOf(ops::kConvGradInput, with(Shape{c.image, c.image}), {y, w}, device), "\n");
  out +=
      StrCat(name, "filter: ",
             PlanOf(ops::kConvGradFilter, with(Shape{c.kernel, c.kernel}), {x, y}, device), "\n");
  return out;
}

void ExpectResNet50(std::string_view device) {
  const DeviceProps props = DeviceNamed(device);
  std::string table;
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    for (const Conv& c : kResNet50) table += Lines(c, dtype, 64, props);
  }
  table += Lines(kResNet50[2], DType::kFloat32, 64, props);
  EXPECT_EQ(table.find("no:"), std::string::npos);
  ExpectGolden(StrCat("resnet50_", device), table);
}

TEST(CudnnConv, LeavesGroupsAlongThreeAxesIn16BitsToOthers) {
  OSTRIA_NEEDS_CUDNN();
  using Ints = std::vector<int64_t>;
  for (const int64_t groups : {1, 2}) {
    const std::vector<Attr> attrs = {Ints{2, 1, 3}, Ints{1, 0, 0, 1, 1, 2}, Ints{2, 1, 2}, groups,
                                     Shape{2, 2, 3}};
    for (const DType dtype : {DType::kFloat16, DType::kFloat32}) {
      const ValueType x{dtype, {2, 5, 4, 6, 4}}, dy{dtype, {2, 2, 4, 2, 2}};
      const std::string plan = PlanOf(ops::kConvGradFilter, attrs, {x, dy}, DeviceNamed("h200"));
      EXPECT_EQ(plan == "no: is wrong for groups of 16 bits along three axes",
                groups == 2 && dtype == DType::kFloat16)
          << plan;
    }
  }
}

TEST(CudnnConv, PlansResNet50OnH100) {
  OSTRIA_NEEDS_CUDNN();
  ExpectResNet50("h100");
}

TEST(CudnnConv, PlansResNet50OnH200) {
  OSTRIA_NEEDS_CUDNN();
  ExpectResNet50("h200");
}

}  // namespace
}  // namespace ostria::cuda
