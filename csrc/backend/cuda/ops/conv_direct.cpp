// SPDX-License-Identifier: Apache-2.0
// Convolutions of our own: depthwise ones, which come before the library's, and the direct ones,
// which come last: for what nothing else takes (doubles, odd cases), and as the reference that
// other implementations are compared with.
#include <algorithm>

#include "backend/cuda/launch/launches.h"
#include "backend/cuda/launch/window.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/conv/conv.h"
#include "kernels/linalg/bias_activation.h"
#include "ops/common/activation.h"
#include "ops/common/conv.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::DepthwiseParams;
using kernels::DirectParams;
using kernels::kDepthwiseThreads;
using ops::ConvAttr;

// The three sides of a convolution, whichever of them the node makes.
struct Sides {
  const MemDesc& image;
  const MemDesc& kernel;
  const MemDesc& result;
  int64_t groups;

  int64_t channels() const { return image.sizes[image.rank - 1]; }
  int64_t out_channels() const { return kernel.sizes[0]; }
  ops::Window window(std::span<const Attr> attrs) const {
    return ops::ConvWindow(attrs, kernel.shape());
  }
};

Sides SidesOf(const NodeDesc& d) {
  const auto groups = d.attr<int64_t>(ConvAttr::kGroups);
  if (d.op == &ops::kConvGradInput) return {d.outputs[0], d.inputs[1], d.inputs[0], groups};
  if (d.op == &ops::kConvGradFilter) return {d.inputs[0], d.outputs[0], d.inputs[1], groups};
  return {d.inputs[0], d.inputs[1], d.outputs[0], groups};
}

LaunchShape ShapeOf(int64_t elements, unsigned block, const DeviceProps& device) {
  LaunchShape shape;
  shape.block = block;
  shape.grid[0] = GridFor(elements, 1, block, device);
  return shape;
}

// --- direct --------------------------------------------------------------------------------------

Support SupportsDirect(const NodeDesc& d) { return SupportsWindow(d, SidesOf(d).window(d.attrs)); }

std::unique_ptr<KernelState> PrepareDirect(const NodeDesc& d) {
  const Sides sides = SidesOf(d);
  DirectParams p;
  p.window = WindowShapeOf(sides.window(d.attrs), sides.image, sides.result);
  p.out_channels = sides.out_channels();
  p.groups = sides.groups;
  std::string name = "forward_";
  LaunchShape shape = ShapeOf(d.outputs[0].numel(), kernels::kDirectThreads, *d.device);
  if (d.op == &ops::kConvGradInput) name = "grad_input_";
  if (d.op == &ops::kConvGradFilter) {
    name = "grad_filter_";
    shape.grid[0] = GridFor(d.outputs[0].numel(), 1, 1, *d.device, 64);
  }
  auto state = std::make_unique<Launches>();
  state->Add("conv/direct", StrCat("direct_", name, Suffix(d.outputs[0].dtype)), shape, p)
      .Point(&DirectParams::a, {0, 0})
      .Point(&DirectParams::b, {1, 0})
      .Point(&DirectParams::dst, {2, 0});
  return state;
}

// --- depthwise -----------------------------------------------------------------------------------

constexpr int64_t kSharedBytes = 48 << 10;  // what a block has without asking

// Channels of what is made that a block takes: up to 32 vectors, as alike as may be, and as many as
// the weights have room; 0: not even one vector's.
struct Tiling {
  int64_t tile = 0, count = 0, shared_bytes = 0;
};
Tiling TilingOf(const NodeDesc& d, const Sides& sides) {
  const int64_t multiplier = sides.out_channels() / sides.channels();
  const bool grad_input = d.op == &ops::kConvGradInput;
  const int64_t made = grad_input ? sides.channels() : sides.out_channels();
  const int64_t vector = 16 / SizeOf(sides.image.dtype);
  const int64_t unit = multiplier == 1 && made % vector == 0 ? vector : 1;
  const int64_t positions = sides.kernel.numel() / sides.out_channels();
  const int64_t bytes = positions * unit * (grad_input ? multiplier : 1) * 4;  // of a unit
  const bool staged = d.op != &ops::kConvGradFilter;
  const int64_t most = staged ? std::min<int64_t>(32, kSharedBytes / bytes) : 32;
  if (most < 1) return {};
  const int64_t units = made / unit, count = (units + most - 1) / most;
  const int64_t each = (units + count - 1) / count;
  return {each * unit, count, staged ? each * bytes : 0};
}

Support SupportsDepthwise(const NodeDesc& d) {
  const Sides sides = SidesOf(d);
  if (sides.image.dtype == DType::kFloat64) return Support::No("is not for float64");
  if (sides.groups != sides.channels() || sides.groups == 1) {
    return Support::No("is for groups that are single channels");
  }
  constexpr int64_t kGridYZ = 65535;
  const Tiling tiling = TilingOf(d, sides);
  if (tiling.tile == 0 || sides.kernel.numel() / sides.out_channels() > kGridYZ) {
    return Support::No("the window has too many positions");
  }
  if (tiling.count > kGridYZ) return Support::No("too many channels");
  return SupportsWindow(d, sides.window(d.attrs));
}

DepthwiseParams DepthwiseOf(const NodeDesc& d, const Sides& sides, const Tiling& tiling) {
  DepthwiseParams p;
  p.window = WindowShapeOf(sides.window(d.attrs), sides.image, sides.result);
  p.multiplier = static_cast<int32_t>(sides.out_channels() / sides.channels());
  p.tile = static_cast<int32_t>(tiling.tile);
  return p;
}

std::unique_ptr<KernelState> PrepareDepthwise(const NodeDesc& d) {
  const Sides sides = SidesOf(d);
  const Tiling tiling = TilingOf(d, sides);
  DepthwiseParams p = DepthwiseOf(d, sides, tiling);
  const bool grad_input = d.op == &ops::kConvGradInput;
  if (d.op == &ops::kConvFused) {
    ops::Activation activation = ops::Activation::kNone;
    ops::ParseActivation(d.attr<std::string>(ConvAttr::kActivation), &activation);
    p.activation = static_cast<int32_t>(activation);
  }
  const MemDesc& y = d.outputs[0];
  LaunchShape shape;
  shape.block = kDepthwiseThreads;
  shape.shared_bytes = static_cast<unsigned>(tiling.shared_bytes);
  // Several elements a thread, so that weights are staged for many pixels.
  const int blocks_per_sm = static_cast<int>(std::max<int64_t>(1, 8 / tiling.count));
  shape.grid[0] = GridFor(y.numel() / tiling.count, 16 / SizeOf(y.dtype) * 2, shape.block,
                          *d.device, blocks_per_sm);
  shape.grid[1] = static_cast<unsigned>(tiling.count);
  auto state = std::make_unique<Launches>();
  auto launch = state->Add(
      "conv/depthwise",
      StrCat(grad_input ? "depthwise_grad_input_" : "depthwise_forward_", Suffix(y.dtype)), shape,
      p);
  const int operands = static_cast<int>(d.inputs.size());
  launch.Point(&DepthwiseParams::src, {0, 0})
      .Point(&DepthwiseParams::kernel, {1, 0})
      .Point(&DepthwiseParams::dst, {operands, 0});
  if (operands > 2) launch.Point(&DepthwiseParams::bias, {2, 0});
  if (operands > 3) launch.Point(&DepthwiseParams::addend, {3, 0});
  return state;
}

std::unique_ptr<KernelState> PrepareDepthwiseFilter(const NodeDesc& d) {
  const Sides sides = SidesOf(d);
  const Tiling tiling = TilingOf(d, sides);
  DepthwiseParams p = DepthwiseOf(d, sides, tiling);
  const int64_t weights = sides.kernel.numel(), positions = weights / sides.out_channels();
  const int64_t pixels = sides.result.numel() / sides.out_channels();
  // Four blocks for each multiprocessor, but pixels enough for each.
  const int64_t wanted = 4 * std::max(d.device->multiprocessors, 1) / (positions * tiling.count);
  p.slices = static_cast<int32_t>(std::clamp<int64_t>(wanted, 1, (pixels + 63) / 64));
  auto state = std::make_unique<Launches>();
  state->workspace_bytes = p.slices * weights * static_cast<int64_t>(sizeof(float));
  LaunchShape shape;
  shape.block = kDepthwiseThreads;
  shape.grid[0] = static_cast<unsigned>(p.slices);
  shape.grid[1] = static_cast<unsigned>(tiling.count);
  shape.grid[2] = static_cast<unsigned>(positions);
  const std::string_view suffix = Suffix(d.outputs[0].dtype);
  state->Add("conv/depthwise_filter", StrCat("depthwise_sum_slices_", suffix), shape, p)
      .Point(&DepthwiseParams::src, {0, 0})
      .Point(&DepthwiseParams::grad, {1, 0})
      .Point(&DepthwiseParams::partials, {3, 0});
  state
      ->Add("conv/depthwise_filter", StrCat("depthwise_add_slices_", suffix),
            ShapeOf(weights, kDepthwiseThreads, *d.device), p)
      .Point(&DepthwiseParams::partials, {3, 0})
      .Point(&DepthwiseParams::dst, {2, 0});
  return state;
}

constexpr KernelDef Own(const OpDef& op, std::string_view impl,
                        Support (*supports)(const NodeDesc&),
                        std::unique_ptr<KernelState> (*prepare)(const NodeDesc&)) {
  return {.op = &op,
          .impl = impl,
          .supports = supports,
          .prepare = prepare,
          .launch = RunMany,
          .bind = BindMany};
}
constexpr KernelDef Depthwise(const OpDef& op,
                              std::unique_ptr<KernelState> (*prepare)(const NodeDesc&)) {
  return Own(op, "depthwise", SupportsDepthwise, prepare);
}
constexpr KernelDef Direct(const OpDef& op) {
  return Own(op, "direct", SupportsDirect, PrepareDirect);
}

constexpr KernelDef kDepthwise[] = {
    Depthwise(ops::kConv1d, PrepareDepthwise),
    Depthwise(ops::kConv2d, PrepareDepthwise),
    Depthwise(ops::kConv3d, PrepareDepthwise),
    Depthwise(ops::kConvFused, PrepareDepthwise),
    Depthwise(ops::kConvGradInput, PrepareDepthwise),
    Depthwise(ops::kConvGradFilter, PrepareDepthwiseFilter),
};
constexpr KernelDef kDirect[] = {
    Direct(ops::kConv1d),        Direct(ops::kConv2d),         Direct(ops::kConv3d),
    Direct(ops::kConvGradInput), Direct(ops::kConvGradFilter),
};

}  // namespace

std::span<const KernelDef> DepthwiseKernels() { return kDepthwise; }
std::span<const KernelDef> DirectConvKernels() { return kDirect; }

}  // namespace ostria::cuda
