// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cudnn/graph.h"

#include "base/check.h"

namespace ostria::cuda {
namespace {

constexpr std::string_view kNames[] = {
    "conv_forward", "conv_grad_input", "conv_grad_filter", "pointwise",       "matmul",
    "reduction",    "gen_stats",       "bn_finalize",      "bn_grad_weights", "norm_forward",
    "norm_grad",    "pool_forward",    "pool_grad",        "reshape"};

void AppendInts(std::string& out, std::string_view name, const std::vector<int64_t>& values) {
  if (!values.empty()) out += StrCat(" ", name, "=[", Join(values, ", "), "]");
}

}  // namespace

std::string_view Name(GraphOp op) { return kNames[static_cast<size_t>(op)]; }

std::vector<int64_t> PerAxis(std::vector<int64_t> values, int64_t missing) {
  if (values.size() == 1) values.insert(values.begin(), missing);
  return values;
}

int64_t CudnnGraph::Tensor(DType dtype, std::vector<int64_t> sizes, std::vector<int64_t> strides,
                           Kind kind) {
  OSTRIA_CHECK(sizes.size() == strides.size());
  const auto uid = static_cast<int64_t>(tensors_.size() + 1);
  tensors_.push_back({uid, dtype, std::move(sizes), std::move(strides), kind.alignment,
                      kind.is_virtual, kind.by_value, kind.value});
  return uid;
}

int64_t CudnnGraph::ChannelsLast(const MemDesc& m) {
  const auto last = static_cast<size_t>(m.rank - 1);
  std::vector<int64_t> sizes = {m.sizes[0], m.sizes[last]}, strides = {m.strides[0], 1};
  if (last == 2) {  // the library's images have two spatial axes at least
    sizes.push_back(1);
    strides.push_back(m.strides[0]);
  }
  for (size_t i = 1; i < last; ++i) {
    sizes.push_back(m.sizes[i]);
    strides.push_back(m.strides[i]);
  }
  return Tensor(m.dtype, std::move(sizes), std::move(strides));
}

int64_t CudnnGraph::ChannelsLast(DType dtype, int64_t n, int64_t c,
                                 std::span<const int64_t> spatial) {
  Shape shape = {n};
  for (int64_t size : spatial) shape.Append(size);
  shape.Append(c);
  return ChannelsLast(MemDesc::Dense(dtype, shape));
}

int64_t CudnnGraph::PerChannel(DType dtype, int64_t c, size_t spatial) {
  std::vector<int64_t> sizes(spatial + 2, 1), strides(spatial + 2, c);
  sizes[1] = c;
  strides[1] = 1;
  return Tensor(dtype, std::move(sizes), std::move(strides));
}

int64_t CudnnGraph::Scalar(DType dtype, double value, size_t rank) {
  const std::vector<int64_t> ones(rank, 1);
  return Tensor(dtype, ones, ones, {.by_value = true, .value = value});
}

int64_t CudnnGraph::Virtual(DType dtype, int64_t uid) {
  const GraphTensor like = tensor(uid);
  return Tensor(dtype, like.sizes, like.strides, {.is_virtual = true});
}

void CudnnGraph::Add(GraphOp op, std::vector<std::pair<std::string_view, int64_t>> tensors,
                     GraphSettings settings) {
  nodes_.push_back({op, std::move(tensors), std::move(settings)});
}

int64_t CudnnGraph::Pointwise(std::string_view mode, int64_t x, int64_t b, int64_t y) {
  if (y == 0) y = Virtual(DType::kFloat32, x);
  std::vector<std::pair<std::string_view, int64_t>> tensors = {{"x", x}};
  if (b != 0) tensors.emplace_back("b", b);
  tensors.emplace_back("y", y);
  Add(GraphOp::kPointwise, std::move(tensors), {.mode = mode});
  return y;
}

CudnnGraph CudnnGraph::Unaligned() const {
  CudnnGraph out = *this;
  for (GraphTensor& t : out.tensors_) {
    if (!t.is_virtual) t.alignment = SizeOf(t.dtype);
  }
  return out;
}

std::string CudnnGraph::Text() const {
  std::string out;
  for (const GraphTensor& t : tensors_) {
    out += StrCat(t.uid, ": ", t.dtype);
    if (t.by_value) {
      out += StrCat(" ", t.value, " rank ", t.sizes.size(), "\n");
      continue;
    }
    out += StrCat(" [", Join(t.sizes, ", "), "] by [", Join(t.strides, ", "), "]");
    if (t.is_virtual) {
      out += " inside";
    } else if (t.alignment != 16) {
      out += StrCat(" at ", t.alignment);
    }
    out += "\n";
  }
  for (const GraphNode& n : nodes_) {
    out += Name(n.op);
    const GraphSettings& s = n.settings;
    if (!s.mode.empty()) out += StrCat(" ", s.mode);
    for (const auto& [role, uid] : n.tensors) out += StrCat(" ", role, "=", uid);
    if (s.compute != DType::kFloat32) out += StrCat(" in ", s.compute);
    if (s.axis >= 0) out += StrCat(" axis=", s.axis);
    AppendInts(out, "size", s.size);
    AppendInts(out, "low", s.low);
    AppendInts(out, "high", s.high);
    AppendInts(out, "stride", s.stride);
    AppendInts(out, "dilation", s.dilation);
    out += "\n";
  }
  return out;
}

}  // namespace ostria::cuda
