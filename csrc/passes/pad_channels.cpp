// SPDX-License-Identifier: Apache-2.0
// pad_channels: the tensor cores of a GPU take 8 channels of 16 bits at a time. An image that has
// others, as one of three colours, gets channels of zeros while it is cast; the library would else
// make a copy of its own for every convolution. What belongs to those channels of a kernel's
// gradient is cut away.
//
//   x = cast(i) [n, h, w, 3];  conv2d(x, cast(k));  conv_grad_filter(x, g)
//     =>  p = pad_channels(i) [n, h, w, 8]
//         conv2d(p, pad_channels(k));  slice(conv_grad_filter(p, g))
#include "ir/builder.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

constexpr int64_t kUnit = 8;
constexpr int kGroups = 3;  // of a convolution's attributes, and of its gradients'

Dim ChannelsOf(const Graph& g, Value v) { return g.shape(v)[g.shape(v).rank() - 1]; }

class ChannelPadder {
 public:
  ChannelPadder(Graph& g, const PassContext& context) : g_(g), context_(context) {}

  // A convolution, whose kernel is padded too, or conv_grad_filter.
  bool Rewrite(NodeId n) {
    const Value x = g_.operand(n, 0);
    const bool forward = IsConvolution(g_.op(n));
    if (!forward && !g_.is(n, ops::kConvGradFilter)) return false;
    if (g_.attr<int64_t>(n, kGroups) != 1) return false;
    const int64_t channels = ChannelsOf(g_, x).value();
    if (channels % kUnit == 0 || g_.shape(g_.result(n)).numel() == 0) return false;
    const int64_t padded = (channels + kUnit - 1) / kUnit * kUnit;
    if (!Takes(n, padded)) return false;
    Builder b(g_, g_.location(n), n);
    const std::vector<Attr> attrs(g_.attrs(n).begin(), g_.attrs(n).end());
    const Value other = forward ? Pad(b, g_.operand(n, 1), padded) : g_.operand(n, 1);
    Value made = b(g_.op(n), {Pad(b, x, padded), other}, attrs);
    if (!forward) {
      const std::vector<int64_t> stop = SizesOf(g_, g_.result(n));
      made =
          b(ops::kSlice, {made}, {std::vector<int64_t>(stop.size()), stop, std::vector<int64_t>{}});
    }
    g_.ReplaceAllUses(g_.result(n), made);
    g_.Erase(n);
    return true;
  }

 private:
  // Whether the device takes it with more channels, and pads by itself.
  bool Takes(NodeId n, int64_t channels) const {
    if (!context_.has_kernel) return true;
    if (g_.dtype(g_.operand(n, 0)) == DType::kFloat32) return false;  // its channels are no vectors
    std::vector<ValueType> types = {g_.type(g_.operand(n, 0)), g_.type(g_.operand(n, 1))};
    const Attr attrs[] = {channels, types[0].dtype};
    if (!context_.has_kernel(ops::kPadChannels, attrs, {types.data(), 1})) return false;
    for (size_t i = 0; i < (IsConvolution(g_.op(n)) ? 2 : 1); ++i) {
      types[i].shape[types[i].shape.rank() - 1] = channels;
    }
    return context_.has_kernel(g_.op(n), g_.attrs(n), types);
  }

  // Reads what `v` was cast of.
  Value Pad(Builder& b, Value v, int64_t channels) const {
    const DType dtype = g_.dtype(v);
    const NodeId cast = ProducedBy(g_, v, ops::kCast);
    if (cast.valid() && g_.dtype(g_.operand(cast, 0)) == DType::kFloat32) v = g_.operand(cast, 0);
    return b(ops::kPadChannels, {v}, {channels, dtype});
  }

  Graph& g_;
  const PassContext& context_;
};

}  // namespace

bool PadChannels(Graph& graph, const PassContext& context) {
  ChannelPadder padder(graph, context);
  bool changed = false;
  for (NodeId next, n = graph.first(); n.valid(); n = next) {
    next = graph.next(n);
    changed |= padder.Rewrite(n);
  }
  return changed;
}

}  // namespace ostria
