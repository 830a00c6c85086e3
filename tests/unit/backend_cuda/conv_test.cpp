// SPDX-License-Identifier: Apache-2.0
// The graphs that convolutions become, run by the loops of the fake cuDNN beside the CPU: layouts,
// strides, padding, roles and what is fused.
#include <cstdlib>
#include <filesystem>

#include "backend_cuda/evaluate.h"
#include "ir/graph.h"
#include "ops/ops.h"

namespace ostria {

Backend* CudaBackend();

namespace {

using Ints = std::vector<int64_t>;

struct Conv {
  Shape x, w;
  Ints strides, padding, dilation;
  int64_t groups = 1;
};

const Conv kConvs[] = {
    {{2, 9, 3}, {4, 3, 3}, {1}, {1, 1}, {1}},
    {{2, 13, 4}, {6, 3, 2}, {2}, {3, 0}, {3}, 2},
    {{2, 7, 9, 3}, {5, 3, 2, 3}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
    {{3, 8, 11, 6}, {4, 3, 2, 3}, {2, 3}, {0, 1, 2, 0}, {1, 2}, 2},
    {{2, 6, 5, 4}, {8, 3, 3, 1}, {1, 2}, {1, 1, 1, 1}, {1, 1}, 4},
    {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
    {{2, 4, 5, 6, 2}, {3, 2, 3, 2, 2}, {2, 1, 1}, {1, 0, 0, 2, 1, 1}, {1, 1, 2}},
};

std::vector<Attr> Attrs(const Conv& c) { return {c.strides, c.padding, c.dilation, c.groups}; }

const OpDef& OpOf(const Conv& c) {
  const OpDef* const ops[] = {&ops::kConv1d, &ops::kConv2d, &ops::kConv3d};
  return *ops[c.strides.size() - 1];
}

std::vector<Attr> WithSpatial(const Conv& c, const Shape& of) {
  std::vector<Attr> attrs = Attrs(c);
  attrs.push_back(Shape(of.dims().subspan(1, c.strides.size())));
  return attrs;
}

double Tolerance(DType dtype) {
  return dtype == DType::kFloat32 ? 1e-5 : dtype == DType::kFloat16 ? 2e-3 : 2e-2;
}

constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

TEST(CudaConv, ForwardAndGradientsAreTheCpus) {
  for (const Conv& c : kConvs) {
    for (const DType dtype : kTypes) {
      const Tensor x = RandomTensor(dtype, c.x, -1, 1, 1), w = RandomTensor(dtype, c.w, -1, 1, 2);
      const double tolerance = Tolerance(dtype);
      const Tensor y = EvaluateOnCpu(OpOf(c), Attrs(c), {x, w})[0];
      ExpectClose(EvaluateOnCuda(OpOf(c), Attrs(c), {x, w}, "cudnn")[0], y, tolerance);
      const Tensor g = RandomTensor(dtype, y.shape(), -1, 1, 3);
      const auto for_input = WithSpatial(c, c.x), for_filter = WithSpatial(c, c.w);
      ExpectClose(EvaluateOnCuda(ops::kConvGradInput, for_input, {g, w}, "cudnn")[0],
                  EvaluateOnCpu(ops::kConvGradInput, for_input, {g, w})[0], tolerance);
      ExpectClose(EvaluateOnCuda(ops::kConvGradFilter, for_filter, {x, g}, "cudnn")[0],
                  EvaluateOnCpu(ops::kConvGradFilter, for_filter, {x, g})[0], tolerance);
    }
  }
}

TEST(CudaConv, WhatIsFusedIsTheCpus) {
  for (const Conv& c : {kConvs[1], kConvs[3], kConvs[6]}) {
    for (const DType dtype : kTypes) {
      // The real library fuses float32 only where it may round to TF32.
      if (dtype == DType::kFloat32 && !OnFakeDriver()) continue;
      const Tensor x = RandomTensor(dtype, c.x, -1, 1, 1), w = RandomTensor(dtype, c.w, -1, 1, 2);
      const Shape y = EvaluateOnCpu(OpOf(c), Attrs(c), {x, w})[0].shape();
      const Tensor bias = RandomTensor(dtype, {c.w[0]}, -1, 1, 3);
      const Tensor addend = RandomTensor(dtype, y, -1, 1, 4);
      for (const std::string activation :
           {"none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"}) {
        // Of others it has engines for some shapes only.
        if (!OnFakeDriver() && activation != "none" && activation != "relu") continue;
        std::vector<Attr> attrs = Attrs(c);
        attrs.push_back(activation);
        std::vector<Tensor> inputs = {x, w};
        for (const Tensor* more : {&bias, &addend}) {
          inputs.push_back(*more);
          ExpectClose(EvaluateOnCuda(ops::kConvFused, attrs, inputs, "cudnn")[0],
                      EvaluateOnCpu(ops::kConvFused, attrs, inputs)[0], Tolerance(dtype));
        }
      }
    }
  }
}

TEST(CudaConv, OperandsMayLieAnywhere) {
  for (const Conv& c : {kConvs[0], kConvs[2]}) {
    ExpectPlacesDoNotMatter(OpOf(c), Attrs(c),
                            {RandomTensor(DType::kFloat32, c.x, -1, 1, 1),
                             RandomTensor(DType::kFloat32, c.w, -1, 1, 2)});
  }
}

// A convolution bound to a stream, to be launched with operands of the test.
class BoundConv {
 public:
  BoundConv(const Conv& c, const DeviceProps& device) : stream_(CudaBackend()->MakeStream(0)) {
    Graph g;
    const Value x = g.AddInput("x", {DType::kFloat32, c.x}, 0),
                w = g.AddInput("w", {DType::kFloat32, c.w}, 0);
    const NodeId n = g.AddNode(OpOf(c), std::vector{x, w}, Attrs(c), 0);
    const MemDesc in[] = {MemDesc::Dense(DType::kFloat32, c.x),
                          MemDesc::Dense(DType::kFloat32, c.w)},
                  out[] = {MemDesc::Dense(DType::kFloat32, g.shape(g.result(n, 0)))};
    const NodeDesc node{&OpOf(c), g.attrs(n), in, out, &device};
    for (const KernelDef& k : CudaBackend()->Kernels()) {
      if (k.op == node.op && k.impl == "cudnn") kernel_ = &k;
    }
    plan_ = kernel_->prepare(node);
    bound_ = kernel_->bind(plan_, {*stream_, 0});
    const int64_t sizes[] = {in[0].bytes(), in[1].bytes(), out[0].bytes(), plan_->workspace_bytes};
    for (int i = 0; i < 4; ++i)
      ptrs_[i] = CudaBackend()->Allocate(0, static_cast<size_t>(sizes[i]));
    result_ = Tensor::Empty(DType::kFloat32, out[0].shape());
  }
  ~BoundConv() {
    stream_->Synchronize();
    for (void* p : ptrs_) CudaBackend()->Free(0, p, 0);
  }
  Stream& stream() { return *stream_; }
  void Launch() { kernel_->launch(*bound_, ptrs_); }
  void SetInput(int i, const Tensor& t) {
    CudaBackend()->CopyToDevice(0, ptrs_[i], t.raw(), static_cast<size_t>(t.bytes()));
  }
  Tensor Result() {
    stream_->Synchronize();
    CudaBackend()->CopyToHost(0, result_.raw(), ptrs_[2], static_cast<size_t>(result_.bytes()));
    return result_;
  }

 private:
  std::unique_ptr<Stream> stream_;
  const KernelDef* kernel_ = nullptr;
  std::shared_ptr<const KernelState> plan_;
  std::unique_ptr<KernelState> bound_;
  void* ptrs_[4] = {};
  Tensor result_;
};

TEST(CudaConv, IsCapturedAndReplayed) {
  const Conv& c = kConvs[3];
  BoundConv conv(c, Sm90());
  conv.stream().BeginCapture();
  conv.Launch();
  const auto recording = conv.stream().EndCapture();
  const Tensor w = RandomTensor(DType::kFloat32, c.w, -1, 1, 2);
  conv.SetInput(1, w);
  for (uint64_t seed : {3, 4}) {
    const Tensor x = RandomTensor(DType::kFloat32, c.x, -1, 1, seed);
    conv.SetInput(0, x);
    recording->Launch(conv.stream());
    ExpectClose(conv.Result(), EvaluateOnCpu(OpOf(c), Attrs(c), {x, w})[0], 1e-5);
  }
}

TEST(CudaConv, IsTimedOnlyWhereResultsMayDiffer) {
  if (!OnFakeDriver()) GTEST_SKIP() << "only the fake driver counts calls";
  const Conv c = {{2, 8, 8, 4}, {4, 3, 3, 4}, {1, 1}, {1, 1, 1, 1}, {1, 1}};
  const std::string folder = ::testing::TempDir() + "cudnn_choice";
  std::filesystem::remove_all(folder);
  const std::string before = std::getenv("OSTRIA_CACHE_DIR");
  ::setenv("OSTRIA_CACHE_DIR", folder.c_str(), 1);
  DeviceProps device = Sm90();
  for (const bool deterministic : {true, false, true}) {
    device.deterministic = deterministic;
    const int64_t timings = DriverCalls("cuEventElapsedTime");
    BoundConv conv(c, device);
    EXPECT_EQ(DriverCalls("cuEventElapsedTime") > timings, !deterministic);
    const Tensor x = RandomTensor(DType::kFloat32, c.x, -1, 1, 1),
                 w = RandomTensor(DType::kFloat32, c.w, -1, 1, 2);
    conv.SetInput(0, x);
    conv.SetInput(1, w);
    conv.Launch();
    ExpectClose(conv.Result(), EvaluateOnCpu(OpOf(c), Attrs(c), {x, w})[0], 1e-5);
  }
  EXPECT_TRUE(std::filesystem::exists(folder + "/cudnn.choices"));
  device.deterministic = false;  // it is known now
  const int64_t timings = DriverCalls("cuEventElapsedTime");
  BoundConv again(c, device);
  EXPECT_EQ(DriverCalls("cuEventElapsedTime"), timings);
  ::setenv("OSTRIA_CACHE_DIR", before.c_str(), 1);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace ostria
