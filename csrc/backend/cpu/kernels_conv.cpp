// SPDX-License-Identifier: Apache-2.0
// Implementations of the convolutions: oneDNN on NHWC images, the kernel reordered inside the step
// into the layout that the primitive asks for (with plain OHWI it would fall back to its reference
// loops), and direct loops of our own for float64 and whatever oneDNN refuses.
#include <algorithm>
#include <vector>

#include "backend/cpu/conv_desc.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/onednn.h"
#include "base/parallel.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

using dnnl::memory;

enum class Kind { kForward, kGradInput, kGradFilter };

Kind KindOf(const NodeDesc& node) {
  if (node.op == &ops::kConv2dGradInput) return Kind::kGradInput;
  return node.op == &ops::kConv2dGradFilter ? Kind::kGradFilter : Kind::kForward;
}

// --- oneDNN ------------------------------------------------------------------------------------

struct OnednnConv {
  memory::desc image, kernel, bias, result;  // as the plan lays them out
  memory::desc inner_kernel;                 // as the primitive wants it
  dnnl::primitive_desc_base pd;
  dnnl::primitive primitive;  // made only when asked for
};

OnednnConv MakeOnednn(const ConvDesc& d, Kind kind, int threads, bool compile) {
  const onednn::ThreadShare share(threads);
  const auto nhwc = [](int64_t n, int64_t h, int64_t w, int64_t c) {
    return memory::desc({n, c, h, w}, memory::data_type::f32, memory::format_tag::nhwc);
  };
  OnednnConv out;
  out.image = nhwc(d.n, d.h, d.w, d.c);
  out.result = nhwc(d.n, d.oh, d.ow, d.o);
  out.bias = onednn::Dense({d.o});
  const int64_t ci = d.group_in(), co = d.group_out();
  onednn::Dims sizes = {co, ci, d.kh, d.kw}, strides = {d.kh * d.kw * ci, 1, d.kw * ci, ci};
  if (d.groups > 1) {
    sizes.insert(sizes.begin(), d.groups);
    strides.insert(strides.begin(), co * d.kh * d.kw * ci);
  }
  out.kernel = onednn::Strided(sizes, strides);
  const memory::desc any = onednn::Any(sizes);
  const onednn::Dims stride = {d.stride_h, d.stride_w};
  const onednn::Dims dilation = {d.dilation_h - 1, d.dilation_w - 1};
  const onednn::Dims low = {d.top, d.left}, high = {d.bottom, d.right};
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const dnnl::engine& engine = onednn::Engine();

  using Forward = dnnl::convolution_forward::primitive_desc;
  const auto prop = dnnl::prop_kind::forward_training;
  const dnnl::primitive_attr attr = onednn::Attributes(d.activation);
  const Forward forward = d.has_bias ? Forward(engine, prop, algorithm, out.image, any, out.bias,
                                               out.result, stride, dilation, low, high, attr)
                                     : Forward(engine, prop, algorithm, out.image, any, out.result,
                                               stride, dilation, low, high, attr);
  switch (kind) {
    case Kind::kForward:
      out.inner_kernel = forward.weights_desc();
      out.pd = forward;
      if (compile) out.primitive = dnnl::convolution_forward(forward);
      break;
    case Kind::kGradInput: {
      const dnnl::convolution_backward_data::primitive_desc pd(engine, algorithm, out.image, any,
                                                               out.result, stride, dilation, low,
                                                               high, forward, attr);
      out.inner_kernel = pd.weights_desc();
      out.pd = pd;
      if (compile) out.primitive = dnnl::convolution_backward_data(pd);
      break;
    }
    case Kind::kGradFilter: {
      const dnnl::convolution_backward_weights::primitive_desc pd(engine, algorithm, out.image, any,
                                                                  out.result, stride, dilation, low,
                                                                  high, forward, attr);
      out.inner_kernel = pd.diff_weights_desc();
      out.pd = pd;
      if (compile) out.primitive = dnnl::convolution_backward_weights(pd);
      break;
    }
  }
  return out;
}

Support SupportsOnednn(const NodeDesc& node) {
  if (Support s = NeedsDense(node); !s.ok) return s;
  const ConvDesc d = DescribeConv(node);
  if (d.dtype != DType::kFloat32) return Support::No("is for float32, not ", d.dtype);
  const int threads = onednn::ThreadsFor(node, d.flops());
  return onednn::Try([&] { return MakeOnednn(d, KindOf(node), threads, false).pd; });
}

int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

struct OnednnState : KernelState {
  Kind kind = Kind::kForward;
  std::unique_ptr<onednn::Primitive> conv, reorder;  // reorder: null when the layouts agree
  bool has_bias = false;
  // In the workspace: the reordered kernel, then each primitive's scratchpad.
  int64_t conv_scratch = 0, reorder_scratch = 0;
};

std::unique_ptr<KernelState> PrepareOnednn(const NodeDesc& node) {
  const ConvDesc d = DescribeConv(node);
  auto state = std::make_unique<OnednnState>();
  state->kind = KindOf(node);
  state->has_bias = d.has_bias;
  const int threads = onednn::ThreadsFor(node, d.flops());
  const OnednnConv made = MakeOnednn(d, state->kind, threads, true);
  const onednn::ThreadShare share(threads);
  std::vector<onednn::Primitive::Arg> args;
  switch (state->kind) {
    case Kind::kForward:
      args = {{DNNL_ARG_SRC, made.image}, {DNNL_ARG_WEIGHTS, made.inner_kernel}};
      if (d.has_bias) args.push_back({DNNL_ARG_BIAS, made.bias});
      args.push_back({DNNL_ARG_DST, made.result});
      break;
    case Kind::kGradInput:
      args = {{DNNL_ARG_DIFF_DST, made.result},
              {DNNL_ARG_WEIGHTS, made.inner_kernel},
              {DNNL_ARG_DIFF_SRC, made.image}};
      break;
    case Kind::kGradFilter:
      args = {{DNNL_ARG_SRC, made.image},
              {DNNL_ARG_DIFF_DST, made.result},
              {DNNL_ARG_DIFF_WEIGHTS, made.inner_kernel}};
      break;
  }
  state->conv = std::make_unique<onednn::Primitive>(made.pd, made.primitive, args, threads);
  state->detail = state->conv->impl();
  int64_t bytes = 0;
  if (made.inner_kernel != made.kernel) {
    const bool back = state->kind == Kind::kGradFilter;
    const memory::desc& from = back ? made.inner_kernel : made.kernel;
    const memory::desc& to = back ? made.kernel : made.inner_kernel;
    const dnnl::reorder::primitive_desc pd(onednn::Engine(), from, onednn::Engine(), to,
                                           onednn::Attributes());
    const onednn::Primitive::Arg pair[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    state->reorder = std::make_unique<onednn::Primitive>(pd, dnnl::reorder(pd), pair, threads);
    state->detail += StrCat(" + reorder ", state->reorder->impl());
    bytes = Aligned(static_cast<int64_t>(made.inner_kernel.get_size()));
  }
  state->conv_scratch = bytes;
  bytes += Aligned(state->conv->scratchpad_bytes());
  state->reorder_scratch = bytes;
  if (state->reorder != nullptr) bytes += state->reorder->scratchpad_bytes();
  state->workspace_bytes = bytes;
  return state;
}

void LaunchOnednn(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const OnednnState&>(state);
  const int operands = s.has_bias ? 4 : 3;
  char* workspace = static_cast<char*>(ptrs[operands]);
  void* handles[5];
  std::copy_n(ptrs, operands, handles);
  handles[operands] = workspace + s.conv_scratch;
  void* const reorder_scratch = workspace + s.reorder_scratch;
  if (s.reorder == nullptr) {
    s.conv->Run(handles);
  } else if (s.kind == Kind::kGradFilter) {
    handles[2] = workspace;
    s.conv->Run(handles);
    void* const reorder[] = {workspace, ptrs[2], reorder_scratch};
    s.reorder->Run(reorder);
  } else {
    void* const reorder[] = {ptrs[1], workspace, reorder_scratch};
    s.reorder->Run(reorder);
    handles[1] = workspace;
    s.conv->Run(handles);
  }
}

// --- direct loops ------------------------------------------------------------------------------

struct DirectState : KernelState {
  ConvDesc d;
  int64_t grain = 1;
};

// Kernel rows whose image row `at` + row * dilation lies inside [0, size).
struct Inside {
  int64_t begin, end;
};
Inside RowsInside(int64_t at, int64_t count, int64_t dilation, int64_t size) {
  Inside r{0, count};
  while (r.begin < r.end && at + r.begin * dilation < 0) ++r.begin;
  while (r.end > r.begin && at + (r.end - 1) * dilation >= size) --r.end;
  return r;
}

template <class T>
void ForwardRow(const ConvDesc& d, const T* x, const T* kernel, T* y, int64_t row) {
  const int64_t n = row / d.oh, oh = row % d.oh, ci = d.group_in(), co = d.group_out();
  const int64_t h0 = oh * d.stride_h - d.top;
  const Inside rows = RowsInside(h0, d.kh, d.dilation_h, d.h);
  for (int64_t ow = 0; ow < d.ow; ++ow) {
    const int64_t w0 = ow * d.stride_w - d.left;
    const Inside cols = RowsInside(w0, d.kw, d.dilation_w, d.w);
    T* out = y + (row * d.ow + ow) * d.o;
    for (int64_t o = 0; o < d.o; ++o) {
      const T* k = kernel + o * d.kh * d.kw * ci;
      T sum = 0;
      for (int64_t i = rows.begin; i < rows.end; ++i) {
        for (int64_t j = cols.begin; j < cols.end; ++j) {
          const int64_t h = h0 + i * d.dilation_h, w = w0 + j * d.dilation_w;
          const T* in = x + ((n * d.h + h) * d.w + w) * d.c + o / co * ci;
          const T* weights = k + (i * d.kw + j) * ci;
          for (int64_t c = 0; c < ci; ++c) sum += in[c] * weights[c];
        }
      }
      out[o] = sum;
    }
  }
}

// One row of the image, from every result that saw it.
template <class T>
void GradInputRow(const ConvDesc& d, const T* g, const T* kernel, T* dx, int64_t row) {
  const int64_t n = row / d.h, h = row % d.h, ci = d.group_in(), co = d.group_out();
  T* out = dx + row * d.w * d.c;
  std::fill_n(out, d.w * d.c, T(0));
  for (int64_t i = 0; i < d.kh; ++i) {
    const int64_t from = h + d.top - i * d.dilation_h;
    if (from < 0 || from % d.stride_h != 0 || from / d.stride_h >= d.oh) continue;
    for (int64_t w = 0; w < d.w; ++w) {
      for (int64_t j = 0; j < d.kw; ++j) {
        const int64_t at = w + d.left - j * d.dilation_w;
        if (at < 0 || at % d.stride_w != 0 || at / d.stride_w >= d.ow) continue;
        const T* in = g + ((n * d.oh + from / d.stride_h) * d.ow + at / d.stride_w) * d.o;
        for (int64_t o = 0; o < d.o; ++o) {
          const T* weights = kernel + ((o * d.kh + i) * d.kw + j) * ci;
          T* to = out + w * d.c + o / co * ci;
          for (int64_t c = 0; c < ci; ++c) to[c] += in[o] * weights[c];
        }
      }
    }
  }
}

// One row (o, i) of the kernel.
template <class T>
void GradFilterRow(const ConvDesc& d, const T* x, const T* g, T* dk, int64_t row) {
  const int64_t o = row / d.kh, i = row % d.kh, ci = d.group_in();
  const int64_t first_channel = o / d.group_out() * ci;
  T* out = dk + row * d.kw * ci;
  std::fill_n(out, d.kw * ci, T(0));
  for (int64_t n = 0; n < d.n; ++n) {
    for (int64_t oh = 0; oh < d.oh; ++oh) {
      const int64_t h = oh * d.stride_h - d.top + i * d.dilation_h;
      if (h < 0 || h >= d.h) continue;
      for (int64_t ow = 0; ow < d.ow; ++ow) {
        const int64_t w0 = ow * d.stride_w - d.left;
        const Inside cols = RowsInside(w0, d.kw, d.dilation_w, d.w);
        const T weight = g[((n * d.oh + oh) * d.ow + ow) * d.o + o];
        for (int64_t j = cols.begin; j < cols.end; ++j) {
          const T* in = x + ((n * d.h + h) * d.w + w0 + j * d.dilation_w) * d.c + first_channel;
          T* to = out + j * ci;
          for (int64_t c = 0; c < ci; ++c) to[c] += in[c] * weight;
        }
      }
    }
  }
}

Support SupportsDirect(const NodeDesc& node) {
  if (Support s = NeedsDense(node); !s.ok) return s;
  const DType dtype = node.inputs[0].dtype;
  if (dtype == DType::kFloat32 || dtype == DType::kFloat64) return Support::Yes();
  return Support::No("is for float32 and float64, not ", dtype);
}

std::unique_ptr<KernelState> PrepareDirect(const NodeDesc& node) {
  auto state = std::make_unique<DirectState>();
  state->d = DescribeConv(node);
  const ConvDesc& d = state->d;
  const int64_t rows = KindOf(node) == Kind::kForward     ? d.n * d.oh
                       : KindOf(node) == Kind::kGradInput ? d.n * d.h
                                                          : d.o * d.kh;
  const double per_row = d.flops() / static_cast<double>(std::max<int64_t>(1, rows));
  state->grain = static_cast<int64_t>(1e5 / std::max(1.0, per_row)) + 1;
  return state;
}

template <Kind kind, class T>
void RunDirect(const DirectState& s, void* const* ptrs) {
  const ConvDesc& d = s.d;
  const T *a = static_cast<const T*>(ptrs[0]), *b = static_cast<const T*>(ptrs[1]);
  T* y = static_cast<T*>(ptrs[2]);
  const int64_t rows = kind == Kind::kForward     ? d.n * d.oh
                       : kind == Kind::kGradInput ? d.n * d.h
                                                  : d.o * d.kh;
  ParallelFor(rows, s.grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      if constexpr (kind == Kind::kForward) {
        ForwardRow(d, a, b, y, row);
      } else if constexpr (kind == Kind::kGradInput) {
        GradInputRow(d, a, b, y, row);
      } else {
        GradFilterRow(d, a, b, y, row);
      }
    }
  });
}

template <Kind kind>
void LaunchDirect(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const DirectState&>(state);
  if (s.d.dtype == DType::kFloat32) {
    RunDirect<kind, float>(s, ptrs);
  } else {
    RunDirect<kind, double>(s, ptrs);
  }
}

constexpr KernelDef kKernels[] = {
    {&ops::kConv2d, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn},
    {&ops::kConv2d, "direct", SupportsDirect, PrepareDirect, LaunchDirect<Kind::kForward>},
    {&ops::kConv2dFused, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn},
    {&ops::kConv2dGradInput, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn},
    {&ops::kConv2dGradInput, "direct", SupportsDirect, PrepareDirect,
     LaunchDirect<Kind::kGradInput>},
    {&ops::kConv2dGradFilter, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn},
    {&ops::kConv2dGradFilter, "direct", SupportsDirect, PrepareDirect,
     LaunchDirect<Kind::kGradFilter>},
};

}  // namespace

std::span<const KernelDef> ConvKernels() { return kKernels; }

}  // namespace ostria::cpu
