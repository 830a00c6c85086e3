// SPDX-License-Identifier: Apache-2.0
// Implementations of the convolutions: oneDNN on images with channels last, the kernel reordered
// into the layout that the primitive asks for (with its own it would fall back to its reference
// loops), inside the step or, where the kernel lasts, once; direct loops of our own for float64 and
// whatever oneDNN refuses; and, in conv_tiles.h, those of our own that come before the library's.
#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/cpu/conv_desc.h"
#include "backend/cpu/conv_tiles.h"
#include "backend/cpu/conv_winograd.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/onednn.h"
#include "base/parallel.h"
#include "base/thread_share.h"
#include "core/aligned.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

using dnnl::memory;

enum class Kind { kForward, kGradInput, kGradFilter };

Kind KindOf(const NodeDesc& node) {
  if (node.op == &ops::kConvGradInput) return Kind::kGradInput;
  return node.op == &ops::kConvGradFilter ? Kind::kGradFilter : Kind::kForward;
}

// --- oneDNN ------------------------------------------------------------------------------------

struct OnednnConv {
  memory::desc image, kernel, bias, result;  // as the plan lays them out
  memory::desc inner_kernel;                 // as the primitive wants it
  dnnl::primitive_desc_base pd;
  dnnl::primitive primitive;  // made only when asked for
};

OnednnConv MakeOnednn(const ConvDesc& d, Kind kind, int threads, bool compile) {
  const ThreadShare share(threads);
  // Channels come second in sizes, last in memory.
  const auto channels_last = [&](int64_t first, std::span<const int64_t> axes, int64_t channels) {
    onednn::Dims sizes = {first, channels}, strides = {1, 1};
    for (int64_t size : axes) sizes.push_back(size);
    int64_t step = channels;
    for (size_t i = axes.size(); i-- > 0; step *= axes[i]) {
      strides.insert(strides.begin() + 2, step);
    }
    strides[0] = step;
    return std::pair(sizes, strides);
  };
  const auto image = [&](int64_t channels, const ConvDesc::Sizes& size) {
    const auto [sizes, strides] = channels_last(d.n, d.Own(size), channels);
    return onednn::Strided(sizes, strides, d.dtype);
  };
  OnednnConv out;
  out.image = image(d.c, d.image);
  out.result = image(d.o, d.result);
  out.bias = onednn::Dense({d.o}, d.dtype);
  auto [sizes, strides] = channels_last(d.group_out(), d.Own(d.window.size), d.group_in());
  if (d.groups > 1) {
    sizes.insert(sizes.begin(), d.groups);
    strides.insert(strides.begin(), d.group_out() * strides[0]);
  }
  out.kernel = onednn::Strided(sizes, strides, d.dtype);
  const memory::desc any = onednn::Any(sizes, d.dtype);
  const auto own = [&](const ConvDesc::Sizes& values) {
    const auto some = d.Own(values);
    return onednn::Dims(some.begin(), some.end());
  };
  const onednn::Dims stride = own(d.window.stride), low = own(d.window.low),
                     high = own(d.window.high);
  onednn::Dims dilation = own(d.window.dilation);
  for (int64_t& n : dilation) --n;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const dnnl::engine& engine = onednn::Engine();

  using Forward = dnnl::convolution_forward::primitive_desc;
  const auto prop = dnnl::prop_kind::forward_training;
  const dnnl::primitive_attr attr = onednn::Attributes(d.activation, d.has_addend);
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

// Measured: the library fills up small groups, to 0.01 to 0.9 of the speed of float32; from 8
// channels on bfloat16 is the faster one.
Support TakesGroups(const ConvDesc& d) {
  constexpr int64_t kLeast = 8;
  const int64_t channels = std::min(d.group_in(), d.group_out());
  if (d.groups == 1 || channels >= kLeast) return Support::Yes();
  return Support::No("groups of ", channels, " channels are slower in bfloat16");
}

Support SupportsOnednn(const NodeDesc& node) {
  if (Support s = NeedsDense(node); !s.ok) return s;
  const ConvDesc d = DescribeConv(node);
  if (Support s = onednn::Takes(d.dtype); !s.ok) return s;
  const int threads = onednn::ThreadsFor(node, d.flops());
  bool by_channel = false;
  Support support = onednn::Try([&] {
    const auto pd = MakeOnednn(d, KindOf(node), threads, false).pd;
    by_channel = std::string_view(pd.impl_info_str()).find("dw") != std::string_view::npos;
    return pd;
  });
  if (support.ok && d.dtype == DType::kBFloat16 && !by_channel) return TakesGroups(d);
  return support;
}

struct OnednnState : KernelState {
  Kind kind = Kind::kForward;
  std::unique_ptr<onednn::Primitive> conv, reorder;  // reorder: null when the layouts agree
  bool has_bias = false, has_addend = false;
  int64_t result_bytes = 0;
  // In the workspace: the reordered kernel, then each primitive's scratchpad.
  int64_t conv_scratch = 0, reorder_scratch = 0;
};

std::unique_ptr<KernelState> PrepareOnednn(const NodeDesc& node) {
  const ConvDesc d = DescribeConv(node);
  auto state = std::make_unique<OnednnState>();
  state->kind = KindOf(node);
  state->has_bias = d.has_bias;
  state->has_addend = d.has_addend;
  state->result_bytes = node.outputs[0].bytes();
  const int threads = onednn::ThreadsFor(node, d.flops());
  const OnednnConv made = MakeOnednn(d, state->kind, threads, true);
  const ThreadShare share(threads);
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
  if (bytes > 0 && node.Lasts(1)) {
    state->detail = StrCat(state->conv->impl(), ", packed by ", state->reorder->impl());
    state->packed_input = 1;
    state->packed_bytes = bytes + state->reorder->scratchpad_bytes();
    state->conv_scratch = 0;
    state->reorder_scratch = bytes;
    state->workspace_bytes = state->conv->scratchpad_bytes();
    return state;
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
  const int inputs = 2 + (s.has_bias ? 1 : 0);  // the library's
  void* const* const outputs = ptrs + inputs + (s.has_addend ? 1 : 0);
  char* workspace = static_cast<char*>(outputs[1]);
  void* handles[5];
  std::copy_n(ptrs, inputs, handles);
  handles[inputs] = outputs[0];
  handles[inputs + 1] = workspace + s.conv_scratch;
  // The library adds to what is there; where it can, the planner puts both in one place.
  if (s.has_addend && ptrs[inputs] != outputs[0]) {
    std::memcpy(outputs[0], ptrs[inputs], static_cast<size_t>(s.result_bytes));
  }
  void* const reorder_scratch = workspace + s.reorder_scratch;
  if (s.reorder == nullptr || s.packed_input >= 0) {
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

void PackOnednn(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const OnednnState&>(state);
  void* const reorder[] = {ptrs[0], ptrs[1], static_cast<char*>(ptrs[1]) + s.reorder_scratch};
  s.reorder->Run(reorder);
}

bool MayOverwriteAddend(const NodeDesc& node, int, int in) {
  return node.op == &ops::kConvFused && in == 3;
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

// Kernel elements of every axis that lie inside the image for the window at `at`.
struct Part {
  ConvDesc::Sizes at;
  std::array<Inside, 3> in;
};
Part PartOf(const ConvDesc& d, const ConvDesc::Sizes& place) {
  const ops::Window& w = d.window;
  Part p;
  for (int i = 0; i < 3; ++i) {
    p.at[i] = place[i] * w.stride[i] - w.low[i];
    p.in[i] = RowsInside(p.at[i], w.size[i], w.dilation[i], d.image[i]);
  }
  return p;
}

// The window along axis i that puts its element k on image position `at`, or -1.
int64_t WindowAt(const ConvDesc& d, int i, int64_t at, int64_t k) {
  const int64_t from = at + d.window.low[i] - k * d.window.dilation[i];
  if (from < 0 || from % d.window.stride[i] != 0) return -1;
  const int64_t place = from / d.window.stride[i];
  return place < d.result[i] ? place : -1;
}

// A row of the result: all widths of one depth and height.
template <class T>
void ForwardRow(const ConvDesc& d, const T* x, const T* kernel, T* y, int64_t row) {
  const ops::Window& w = d.window;
  const int64_t ci = d.group_in(), co = d.group_out();
  const int64_t n = row / (d.result[0] * d.result[1]);
  for (int64_t ow = 0; ow < d.result[2]; ++ow) {
    const Part p = PartOf(d, {row / d.result[1] % d.result[0], row % d.result[1], ow});
    T* out = y + (row * d.result[2] + ow) * d.o;
    for (int64_t o = 0; o < d.o; ++o) {
      const T* k = kernel + o * w.positions() * ci;
      T sum = 0;
      for (int64_t t = p.in[0].begin; t < p.in[0].end; ++t) {
        const int64_t plane = n * d.image[0] + p.at[0] + t * w.dilation[0];
        for (int64_t i = p.in[1].begin; i < p.in[1].end; ++i) {
          const int64_t line = plane * d.image[1] + p.at[1] + i * w.dilation[1];
          for (int64_t j = p.in[2].begin; j < p.in[2].end; ++j) {
            const int64_t at = line * d.image[2] + p.at[2] + j * w.dilation[2];
            const T* in = x + at * d.c + o / co * ci;
            const T* weights = k + ((t * w.size[1] + i) * w.size[2] + j) * ci;
            for (int64_t c = 0; c < ci; ++c) sum += in[c] * weights[c];
          }
        }
      }
      out[o] = sum;
    }
  }
}

// One row of the image, from every result that saw it.
template <class T>
void GradInputRow(const ConvDesc& d, const T* g, const T* kernel, T* dx, int64_t row) {
  const ops::Window& w = d.window;
  const int64_t ci = d.group_in(), co = d.group_out(), width = d.image[2];
  const int64_t n = row / (d.image[0] * d.image[1]), depth = row / d.image[1] % d.image[0],
                height = row % d.image[1];
  T* out = dx + row * width * d.c;
  std::fill_n(out, width * d.c, T(0));
  for (int64_t t = 0; t < w.size[0]; ++t) {
    const int64_t od = WindowAt(d, 0, depth, t);
    if (od < 0) continue;
    for (int64_t i = 0; i < w.size[1]; ++i) {
      const int64_t oh = WindowAt(d, 1, height, i);
      if (oh < 0) continue;
      const int64_t line = ((n * d.result[0] + od) * d.result[1] + oh) * d.result[2];
      for (int64_t at = 0; at < width; ++at) {
        for (int64_t j = 0; j < w.size[2]; ++j) {
          const int64_t ow = WindowAt(d, 2, at, j);
          if (ow < 0) continue;
          const T* in = g + (line + ow) * d.o;
          const int64_t p = (t * w.size[1] + i) * w.size[2] + j;
          for (int64_t o = 0; o < d.o; ++o) {
            const T* weights = kernel + (o * w.positions() + p) * ci;
            T* to = out + at * d.c + o / co * ci;
            for (int64_t c = 0; c < ci; ++c) to[c] += in[o] * weights[c];
          }
        }
      }
    }
  }
}

// One row (o, t, i) of the kernel.
template <class T>
void GradFilterRow(const ConvDesc& d, const T* x, const T* g, T* dk, int64_t row) {
  const ops::Window& w = d.window;
  const int64_t ci = d.group_in(), i = row % w.size[1], t = row / w.size[1] % w.size[0];
  const int64_t o = row / (w.size[0] * w.size[1]), first_channel = o / d.group_out() * ci;
  T* out = dk + row * w.size[2] * ci;
  std::fill_n(out, w.size[2] * ci, T(0));
  const int64_t lines = d.n * d.result[0] * d.result[1];
  for (int64_t line = 0; line < lines; ++line) {
    const int64_t n = line / (d.result[0] * d.result[1]);
    const int64_t depth =
                      line / d.result[1] % d.result[0] * w.stride[0] - w.low[0] + t * w.dilation[0],
                  height = line % d.result[1] * w.stride[1] - w.low[1] + i * w.dilation[1];
    if (depth < 0 || depth >= d.image[0] || height < 0 || height >= d.image[1]) continue;
    const T* from = x + ((n * d.image[0] + depth) * d.image[1] + height) * d.image[2] * d.c;
    for (int64_t ow = 0; ow < d.result[2]; ++ow) {
      const int64_t w0 = ow * w.stride[2] - w.low[2];
      const Inside cols = RowsInside(w0, w.size[2], w.dilation[2], d.image[2]);
      const T weight = g[(line * d.result[2] + ow) * d.o + o];
      for (int64_t j = cols.begin; j < cols.end; ++j) {
        const T* in = from + (w0 + j * w.dilation[2]) * d.c + first_channel;
        T* to = out + j * ci;
        for (int64_t c = 0; c < ci; ++c) to[c] += in[c] * weight;
      }
    }
  }
}

// Rows of what the node computes.
int64_t RowsOf(const ConvDesc& d, Kind kind) {
  switch (kind) {
    case Kind::kForward: return d.n * d.result[0] * d.result[1];
    case Kind::kGradInput: return d.n * d.image[0] * d.image[1];
    case Kind::kGradFilter: break;
  }
  return d.o * d.window.size[0] * d.window.size[1];
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
  const int64_t rows = RowsOf(d, KindOf(node));
  const double per_row = d.flops() / static_cast<double>(std::max<int64_t>(1, rows));
  state->grain = static_cast<int64_t>(1e5 / std::max(1.0, per_row)) + 1;
  return state;
}

template <Kind kind, class T>
void RunDirect(const DirectState& s, void* const* ptrs) {
  const ConvDesc& d = s.d;
  const T *a = static_cast<const T*>(ptrs[0]), *b = static_cast<const T*>(ptrs[1]);
  T* y = static_cast<T*>(ptrs[2]);
  const int64_t rows = RowsOf(d, kind);
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
    {&ops::kConv1d, "places", SupportsPlaces, PreparePlaces, LaunchPlaces},
    {&ops::kConv1d, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn, MayOverwriteAddend,
     PackOnednn},
    {&ops::kConv1d, "direct", SupportsDirect, PrepareDirect, LaunchDirect<Kind::kForward>},
    {&ops::kConv2d, "places", SupportsPlaces, PreparePlaces, LaunchPlaces},
    {&ops::kConv2d, "winograd", SupportsWinograd, PrepareWinograd, LaunchWinograd,
     MayOverwriteAddend, PackWinograd},
    {&ops::kConv2d, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn, MayOverwriteAddend,
     PackOnednn},
    {&ops::kConv2d, "direct", SupportsDirect, PrepareDirect, LaunchDirect<Kind::kForward>},
    {&ops::kConv3d, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn, MayOverwriteAddend,
     PackOnednn},
    {&ops::kConv3d, "direct", SupportsDirect, PrepareDirect, LaunchDirect<Kind::kForward>},
    {&ops::kConvFused, "winograd", SupportsWinograd, PrepareWinograd, LaunchWinograd,
     MayOverwriteAddend, PackWinograd},
    {&ops::kConvFused, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn, MayOverwriteAddend,
     PackOnednn},
    {&ops::kConvGradInput, "places", SupportsPlaces, PreparePlaces, LaunchPlaces},
    {&ops::kConvGradInput, "winograd", SupportsWinograd, PrepareWinograd, LaunchWinograd,
     MayOverwriteAddend, PackWinograd},
    {&ops::kConvGradInput, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn,
     MayOverwriteAddend, PackOnednn},
    {&ops::kConvGradInput, "direct", SupportsDirect, PrepareDirect, LaunchDirect<Kind::kGradInput>},
    {&ops::kConvGradFilter, "winograd", SupportsWinogradGrad, PrepareWinogradGrad,
     LaunchWinogradGrad},
    {&ops::kConvGradFilter, "tiles", SupportsFilterTiles, PrepareFilterTiles, LaunchFilterTiles},
    {&ops::kConvGradFilter, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn,
     MayOverwriteAddend, PackOnednn},
    {&ops::kConvGradFilter, "direct", SupportsDirect, PrepareDirect,
     LaunchDirect<Kind::kGradFilter>},
};

}  // namespace

std::span<const KernelDef> ConvKernels() { return kKernels; }

}  // namespace ostria::cpu
