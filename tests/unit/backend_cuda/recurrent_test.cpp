// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backend/cuda/stream.h"
#include "backend_cuda/evaluate.h"
#include "ir/graph.h"
#include "ops/ops.h"

namespace ostria {

Backend* CudaBackend();

namespace {

struct Layer {
  const char* cell;
  int64_t batch, time, features, units;
  int64_t gates() const { return lstm() ? 4 : 3; }
  bool lstm() const { return std::string_view(cell) == "lstm"; }
  std::vector<Attr> attrs() const { return {std::string(cell)}; }
};

constexpr Layer kLayers[] = {
    {"lstm", 3, 4, 5, 7},   {"gru", 3, 4, 5, 7},   {"lstm", 1, 2, 1, 1},   {"gru", 1, 2, 1, 1},
    {"lstm", 2, 3, 71, 33}, {"gru", 2, 3, 33, 71}, {"lstm", 33, 2, 40, 3},
};

// x, kernel, recurrent_kernel, bias, h, and lstm's c.
std::vector<Tensor> Operands(const Layer& l, DType dtype) {
  const int64_t columns = l.gates() * l.units;
  uint64_t seed = 0;
  const auto draw = [&](const Shape& shape) { return RandomTensor(dtype, shape, -1, 1, ++seed); };
  std::vector<Tensor> in = {
      draw({l.batch, l.time, l.features}), draw({l.features, columns}), draw({l.units, columns}),
      draw(l.lstm() ? Shape{columns} : Shape{2, columns}), draw({l.batch, l.units})};
  if (l.lstm()) in.push_back(draw({l.batch, l.units}));
  return in;
}

double Tolerance(DType dtype) {
  return dtype == DType::kFloat16 ? 2e-2 : dtype == DType::kFloat32 ? 2e-5 : 1e-11;
}

std::vector<Tensor> GradOperands(const Layer& l, const std::vector<Tensor>& in,
                                 const std::vector<Tensor>& out) {
  const DType dtype = in[0].dtype();
  std::vector<Tensor> g = {
      RandomTensor(dtype, out[0].shape(), -1, 1, 90), in[0], in[1], in[2], in[3], out[0], out[1]};
  for (int i = 0; i < (l.lstm() ? 2 : 1); ++i) {
    g.push_back(RandomTensor(dtype, in[4].shape(), -1, 1, 91 + i));
    g.push_back(in[4 + i]);
  }
  return g;
}

TEST(CudaRecurrent, LayersAndGradientsAreTheCpus) {
  for (const Layer& l : kLayers) {
    for (const DType dtype : {DType::kFloat16, DType::kFloat32, DType::kFloat64}) {
      const std::vector<Tensor> in = Operands(l, dtype);
      const auto want = EvaluateOnCpu(ops::kRecurrentLayer, l.attrs(), in);
      const auto got = EvaluateOnCuda(ops::kRecurrentLayer, l.attrs(), in, "cudnn");
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < want.size(); ++i) {
        if (i != 1) ExpectClose(got[i], want[i], Tolerance(dtype));  // saved is the library's own
      }
      const auto dwant =
          EvaluateOnCpu(ops::kRecurrentLayerGrad, l.attrs(), GradOperands(l, in, want));
      const auto dgot =
          EvaluateOnCuda(ops::kRecurrentLayerGrad, l.attrs(), GradOperands(l, in, got), "cudnn");
      ASSERT_EQ(dgot.size(), dwant.size());
      for (size_t i = 0; i < dwant.size(); ++i) {
        ExpectClose(dgot[i], dwant[i], 10 * Tolerance(dtype));
      }
    }
  }
}

// A layer or its gradient on the device, to be captured.
class BoundLayer {
 public:
  BoundLayer(const OpDef& op, const std::vector<Attr>& attrs, const std::vector<Tensor>& in,
             std::string_view impl = "cudnn", bool saves = true)
      : stream_(CudaBackend()->MakeStream(0)) {
    std::vector<MemDesc> types, results;
    std::vector<ValueType> given, out;
    for (const Tensor& t : in) {
      given.push_back({t.dtype(), t.shape()});
      types.push_back(MemDesc::Dense(t.dtype(), t.shape()));
    }
    InferTypes(op, given, attrs, &out);
    for (const ValueType& t : out) {
      results.push_back(MemDesc::Dense(t.dtype, t.shape));
      results_.push_back(Tensor::Empty(t.dtype, t.shape));
    }
    const DeviceProps device = Sm90();
    const NodeDesc node{&op, attrs, types, results, &device};
    for (const KernelDef& k : CudaBackend()->Kernels()) {
      if (k.op == &op && k.impl == impl) kernel_ = &k;
    }
    plan_ = kernel_->prepare(node);
    bound_ = kernel_->bind(plan_, {*stream_, 0});
    for (const Tensor& t : in) {
      ptrs_.push_back(Allocate(t.bytes()));
      CudaBackend()->CopyToDevice(0, ptrs_.back(), t.raw(), static_cast<size_t>(t.bytes()));
    }
    for (size_t i = 0; i < results_.size(); ++i) {
      const bool unread = i == 1 && !saves && &op == &ops::kRecurrentLayer;
      ptrs_.push_back(unread ? nullptr : Allocate(results_[i].bytes()));
    }
    ptrs_.push_back(Allocate(plan_->workspace_bytes));
  }
  ~BoundLayer() {
    stream_->Synchronize();
    for (void* p : ptrs_) {
      if (p != nullptr) CudaBackend()->Free(0, p, 0);
    }
  }
  Stream& stream() { return *stream_; }
  void Launch() { kernel_->launch(*bound_, ptrs_.data()); }
  Tensor Result(size_t i) {
    stream_->Synchronize();
    void* const from = ptrs_[ptrs_.size() - 1 - results_.size() + i];
    Tensor& t = results_[i];
    CudaBackend()->CopyToHost(0, t.raw(), from, static_cast<size_t>(t.bytes()));
    return t;
  }

 private:
  static void* Allocate(int64_t bytes) {
    return CudaBackend()->Allocate(0, static_cast<size_t>(bytes));
  }
  std::unique_ptr<Stream> stream_;
  const KernelDef* kernel_ = nullptr;
  std::shared_ptr<const KernelState> plan_;
  std::unique_ptr<KernelState> bound_;
  std::vector<void*> ptrs_;
  std::vector<Tensor> results_;
};

TEST(CudaRecurrent, IsCapturedWithoutAllocationAndReplayed) {
  const Layer& l = kLayers[0];
  const std::vector<Tensor> in = Operands(l, DType::kFloat32);
  const auto out = EvaluateOnCuda(ops::kRecurrentLayer, l.attrs(), in, "cudnn");
  BoundLayer grad(ops::kRecurrentLayerGrad, l.attrs(), GradOperands(l, in, out));
  const int64_t allocations = DriverCalls("cuMemAlloc") + DriverCalls("cuMemCreate"),
                waits = DriverCalls("cuStreamSynchronize");
  grad.stream().BeginCapture();
  grad.Launch();
  const auto recording = grad.stream().EndCapture();
  EXPECT_EQ(DriverCalls("cuMemAlloc") + DriverCalls("cuMemCreate"), allocations);
  EXPECT_EQ(DriverCalls("cuStreamSynchronize"), waits);
  // Twice: neither what was saved nor what gradients are added to is left over.
  recording->Launch(grad.stream());
  const Tensor first = grad.Result(1);
  const Tensor kept = Tensor::Empty(first.dtype(), first.shape());
  std::memcpy(kept.raw(), first.raw(), static_cast<size_t>(first.bytes()));
  recording->Launch(grad.stream());
  ExpectClose(grad.Result(1), kept, 0);
}

TEST(CudaRecurrent, SavesNothingThatNobodyReads) {
  for (const Layer& l : {kLayers[0], kLayers[1]}) {
    const std::vector<Tensor> in = Operands(l, DType::kFloat32);
    BoundLayer layer(ops::kRecurrentLayer, l.attrs(), in, "cudnn", false);
    layer.Launch();
    ExpectClose(layer.Result(0), EvaluateOnCpu(ops::kRecurrentLayer, l.attrs(), in)[0], 2e-5);
  }
}

TEST(CudaRecurrent, RefusesWithReasons) {
  const auto reason = [](DType dtype, int64_t time) {
    const Layer l = {"gru", 2, time, 3, 4};
    std::vector<MemDesc> in, out;
    std::vector<ValueType> given, types;
    for (const Tensor& t : Operands(l, dtype)) {
      in.push_back(MemDesc::Dense(t.dtype(), t.shape()));
      given.push_back({t.dtype(), t.shape()});
    }
    const std::vector<Attr> attrs = l.attrs();
    InferTypes(ops::kRecurrentLayer, given, attrs, &types);
    for (const ValueType& t : types) out.push_back(MemDesc::Dense(t.dtype, t.shape));
    const DeviceProps device = Sm90();
    const NodeDesc node{&ops::kRecurrentLayer, attrs, in, out, &device};
    for (const KernelDef& k : CudaBackend()->Kernels()) {
      if (k.op == node.op && k.impl == "cudnn") return k.supports(node).reason;
    }
    return std::string("there is none");
  };
  EXPECT_EQ(reason(DType::kFloat32, 2), "");
  EXPECT_EQ(reason(DType::kBFloat16, 2), "cuDNN has no recurrent nets in bfloat16");
  EXPECT_EQ(reason(DType::kFloat32, 1), "one step is a product and one loop");
}

// --- products and a kernel of ours for each step -------------------------------------------------

struct Sequences {
  Layer layer;
  bool reverse, lengths, wide;
};
constexpr Sequences kSequences[] = {
    {{"lstm", 3, 4, 5, 7}, false, false, false},   {{"gru", 3, 4, 5, 7}, false, false, false},
    {{"lstm", 3, 4, 5, 7}, true, true, true},      {{"gru", 3, 4, 5, 7}, true, true, false},
    {{"lstm", 5, 3, 8, 4}, false, true, false},    {{"gru", 5, 3, 8, 4}, false, true, true},
    {{"lstm", 1, 1, 1, 1}, false, false, false},   {{"gru", 1, 1, 1, 1}, true, false, false},
    {{"lstm", 2, 2, 71, 229}, true, false, false}, {{"gru", 2, 2, 229, 71}, false, false, false},
};

TEST(CudaRecurrentSteps, AreTheCpus) {
  for (const Sequences& q : kSequences) {
    const Layer& l = q.layer;
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const std::vector<Attr> attrs = {q.reverse};
      std::vector<Tensor> in = Operands(l, dtype);
      const size_t states = l.lstm() ? 2 : 1;
      Tensor lengths;
      if (q.lengths) {  // beyond both ends too
        lengths = RandomTensor(q.wide ? DType::kInt64 : DType::kInt32, {l.batch}, -1,
                               static_cast<double>(l.time) + 3, 5);
        in.push_back(lengths);
      }
      const OpDef &op = l.lstm() ? ops::kLstm : ops::kGru,
                  &grad = l.lstm() ? ops::kLstmGrad : ops::kGruGrad;
      const auto want = EvaluateOnCpu(op, attrs, in);
      std::vector<Tensor> g = {RandomTensor(dtype, want[0].shape(), -1, 1, 90)};
      for (size_t i = 0; i < states; ++i) {
        g.push_back(RandomTensor(dtype, in[4].shape(), -1, 1, 91 + i));
      }
      g.insert(g.end(), {in[0], in[1], in[2]});
      for (size_t i = 0; i < states; ++i) g.push_back(in[4 + i]);
      g.push_back(want[0]);
      for (size_t i = 1 + states; i < want.size(); ++i) g.push_back(want[i]);
      if (q.lengths) g.push_back(lengths);
      const auto dwant = EvaluateOnCpu(grad, attrs, g);
      for (const int64_t skew : {0, 1}) {
        const Placement at = {.impl = "steps", .skew = skew};
        const auto got = EvaluateOnCuda(op, attrs, in, at);
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < want.size(); ++i) ExpectClose(got[i], want[i], Tolerance(dtype));
        const auto dgot = EvaluateOnCuda(grad, attrs, g, at);
        ASSERT_EQ(dgot.size(), dwant.size());
        for (size_t i = 0; i < dwant.size(); ++i) {
          ExpectClose(dgot[i], dwant[i], 10 * Tolerance(dtype));
        }
      }
    }
  }
}

TEST(CudaRecurrentSteps, TakeTwoLaunchesAStep) {
  const auto nodes = [](int64_t time, bool grad) {
    const Layer l = {"lstm", 2, time, 3, 4};
    std::vector<Tensor> in = Operands(l, DType::kFloat32);
    if (grad) {
      const auto out = EvaluateOnCpu(ops::kLstm, {false}, in);
      in = {out[0], in[4], in[5], in[0], in[1], in[2], in[4], in[5], out[0], out[3], out[4]};
    }
    BoundLayer layer(grad ? ops::kLstmGrad : ops::kLstm, {false}, in, "steps");
    layer.stream().BeginCapture();
    layer.Launch();
    return layer.stream().EndCapture()->num_nodes();
  };
  EXPECT_EQ(nodes(9, false), 9 * 2 + 3);     // the inputs' product, and two states
  EXPECT_EQ(nodes(9, true), 9 * 2 + 2 + 4);  // two states, three products and the bias
}

}  // namespace
}  // namespace ostria
