// SPDX-License-Identifier: Apache-2.0
// A launch packs the weights into the library's space and calls it; a gradient is two calls, for
// the data and for the weights, and an unpacking. The library's own notes on the forward pass are
// the node's `saved`, which its gradient overwrites: so it gets a copy.
#include "backend/cuda/cudnn/recurrent.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "backend/cuda/cudnn/handle.h"
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/recurrent/pack.h"
#include "ops/common/recurrent.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::RecurrentPackParams;

int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

struct RecurrentState : KernelState {
  CudnnRecurrent what;
  LaunchShape shape;         // of packing
  RecurrentPackParams pack;  // all but the pointers
  // The library's own launches are not ours to count: each call is one here.
  std::vector<std::string> LaunchNames() const override {
    const std::string size = StrCat(SizeOf(what.dtype)), cell = what.lstm ? "lstm" : "gru";
    if (!what.grad) return {"recurrent_pack_" + size, "cudnn " + cell};
    return {"recurrent_pack_" + size,
            "copy",
            "clear",
            "cudnn " + cell + " gradient",
            "cudnn " + cell + " weights' gradient",
            "recurrent_unpack_" + size};
  }
  int64_t at_weights = 0, at_gradients = 0, at_saved = 0, at_work = 0;  // in the workspace
};

// Owns a descriptor of one of the library's kinds.
template <class T>
class Owned {
 public:
  using Make = cudnnStatus_t (*)(T*);
  using Destroy = cudnnStatus_t (*)(T);
  Owned(Make make, Destroy destroy) : destroy_(destroy) {
    CheckCudnn(make(&raw_), "making a descriptor");
  }
  ~Owned() { destroy_(raw_); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  T get() const { return raw_; }

 private:
  T raw_ = nullptr;
  Destroy destroy_;
};

struct BoundRecurrent final : KernelState {
  BoundRecurrent(std::shared_ptr<const RecurrentState> plan, const CudaStream& stream)
      : plan(std::move(plan)), stream(stream), handle(CudnnHandle::Of(stream)) {}
  ~BoundRecurrent() override {
    if (more_work != nullptr) stream.cuda().memory().Free(more_work);
  }
  std::shared_ptr<const RecurrentState> plan;
  const CudaStream& stream;
  std::shared_ptr<CudnnHandle> handle;
  CUfunction pack = nullptr, unpack = nullptr;
  Owned<cudnnRNNDescriptor_t> net{Cudnn().cudnnCreateRNNDescriptor,
                                  Cudnn().cudnnDestroyRNNDescriptor};
  Owned<cudnnRNNDataDescriptor_t> x{Cudnn().cudnnCreateRNNDataDescriptor,
                                    Cudnn().cudnnDestroyRNNDataDescriptor};
  Owned<cudnnRNNDataDescriptor_t> y{Cudnn().cudnnCreateRNNDataDescriptor,
                                    Cudnn().cudnnDestroyRNNDataDescriptor};
  Owned<cudnnTensorDescriptor_t> state{Cudnn().cudnnCreateTensorDescriptor,
                                       Cudnn().cudnnDestroyTensorDescriptor};
  size_t work_bytes = 0, saved_bytes = 0;
  void* more_work = nullptr;  // in place of the planned one, where that is too small
};

cudnnDataType_t TypeOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return CUDNN_DATA_HALF;
    case DType::kFloat64: return CUDNN_DATA_DOUBLE;
    default: return CUDNN_DATA_FLOAT;
  }
}

cudnnMathType_t MathOf(const CudnnRecurrent& r) {
  if (r.dtype == DType::kFloat16) return CUDNN_TENSOR_OP_MATH;
  return r.tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
}

void SetData(cudnnRNNDataDescriptor_t into, const CudnnRecurrent& r, int64_t columns) {
  const std::vector<int> lengths(static_cast<size_t>(r.batch), static_cast<int>(r.time));
  CheckCudnn(Cudnn().cudnnSetRNNDataDescriptor(into, TypeOf(r.dtype),
                                               CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED,
                                               static_cast<int>(r.time), static_cast<int>(r.batch),
                                               static_cast<int>(columns), lengths.data(), nullptr),
             "describing sequences");
}

void SetDescriptors(const BoundRecurrent& b) {
  const CudnnRecurrent& r = b.plan->what;
  const cudnnDataType_t type = TypeOf(r.dtype);
  const auto units = static_cast<int32_t>(r.units);
  CheckCudnn(
      Cudnn().cudnnSetRNNDescriptor_v8(
          b.net.get(), CUDNN_RNN_ALGO_STANDARD, r.lstm ? CUDNN_LSTM : CUDNN_GRU,
          r.lstm ? CUDNN_RNN_SINGLE_INP_BIAS : CUDNN_RNN_DOUBLE_BIAS, CUDNN_UNIDIRECTIONAL,
          CUDNN_LINEAR_INPUT, type, r.dtype == DType::kFloat64 ? type : CUDNN_DATA_FLOAT, MathOf(r),
          static_cast<int32_t>(r.features), units, units, 1, nullptr, CUDNN_RNN_PADDED_IO_ENABLED),
      "describing a recurrent net");
  SetData(b.x.get(), r, r.features);
  SetData(b.y.get(), r, r.units);
  const int sizes[] = {1, static_cast<int>(r.batch), units};
  const int strides[] = {sizes[1] * units, units, 1};
  CheckCudnn(Cudnn().cudnnSetTensorNdDescriptor(b.state.get(), type, 3, sizes, strides),
             "describing states");
}

[[noreturn]] void FailOther(std::string_view what, int64_t found, int64_t planned) {
  Fail(ErrorCode::kInternal, "cuDNN: ", what, " of a recurrent net is ", found, " bytes, and ",
       planned,
       " were planned; this is another version than those that the rule is for: pin "
       "\"decompose\" for lstm and gru, and report the version of cuDNN");
}

// That every matrix and bias lies where kernels/recurrent/pack.h puts it.
void CheckWeights(const BoundRecurrent& b) {
  const CudnnRecurrent& r = b.plan->what;
  size_t bytes = 0;
  CheckCudnn(Cudnn().cudnnGetRNNWeightSpaceSize(b.handle->raw(), b.net.get(), &bytes),
             "sizing the weights of a recurrent net");
  if (static_cast<int64_t>(bytes) != r.weight_bytes()) {
    FailOther("the space of the weights", static_cast<int64_t>(bytes), r.weight_bytes());
  }
  const int64_t size = SizeOf(r.dtype), matrices = r.gates() * r.units * (r.features + r.units);
  char* const space = reinterpret_cast<char*>(uintptr_t{1} << 32);  // only offsets are of interest
  const Owned<cudnnTensorDescriptor_t> matrix(Cudnn().cudnnCreateTensorDescriptor,
                                              Cudnn().cudnnDestroyTensorDescriptor);
  const Owned<cudnnTensorDescriptor_t> vector(Cudnn().cudnnCreateTensorDescriptor,
                                              Cudnn().cudnnDestroyTensorDescriptor);
  for (int64_t i = 0; i < 2 * r.gates(); ++i) {
    void *m = nullptr, *v = nullptr;
    CheckCudnn(Cudnn().cudnnGetRNNWeightParams(b.handle->raw(), b.net.get(), 0, bytes, space,
                                               static_cast<int32_t>(i), matrix.get(), &m,
                                               vector.get(), &v),
               "finding the weights of a recurrent net");
    const int64_t gate = i % r.gates();
    const int64_t at = i < r.gates() ? gate * r.units * r.features
                                     : r.units * (r.gates() * r.features + gate * r.units);
    if (m != space + at * size) FailOther("a matrix's offset", static_cast<char*>(m) - space, at);
    if (i >= r.gates() * r.biases()) continue;
    const int64_t bias = (matrices + i * r.units) * size;
    if (v != space + bias) FailOther("a bias's offset", static_cast<char*>(v) - space, bias);
  }
}

void* In(void* workspace, int64_t at) { return static_cast<char*>(workspace) + at; }

void Pack(const BoundRecurrent& b, CUfunction function, void* kernel, void* recurrent, void* bias,
          void* space) {
  RecurrentPackParams p = b.plan->pack;
  p.kernel = kernel;
  p.recurrent = recurrent;
  p.bias = bias;
  p.space = space;
  LaunchKernel(b.stream, function, b.plan->shape, &p, sizeof p);
}

void* WorkOf(const BoundRecurrent& b, void* workspace) {
  return b.more_work != nullptr ? b.more_work : In(workspace, b.plan->at_work);
}

}  // namespace

int64_t CudnnRecurrent::weight_bytes() const {
  return SizeOf(dtype) * gates() * units * (features + units + biases());
}

int64_t CudnnRecurrent::saved_bytes() const {
  return SizeOf(dtype) * ops::SavedElements(lstm, batch, time, units).value();
}

// Fitted to what the library answers for 4000 problems: 8 MiB of its own, states and gates by time,
// sequences by time where ours are by row, and the transposed weights.
int64_t CudnnRecurrent::work_bytes() const {
  const int64_t states = batch * time * units, inputs = batch * time * features;
  const int64_t elements = std::max(gates() * states, 2 * inputs) + (lstm ? 1 : 2) * states +
                           inputs + gates() * units * (features + units) +
                           12 * batch * std::max(features, units);
  return (int64_t{8} << 20) + (int64_t{64} << 10) + SizeOf(dtype) * elements;
}

CudnnRecurrent DescribeRecurrent(const NodeDesc& node) {
  CudnnRecurrent r;
  r.grad = node.op == &ops::kRecurrentLayerGrad;
  const int x = r.grad ? 1 : 0;
  r.dtype = node.inputs[0].dtype;
  r.lstm = node.attr<std::string>(ops::LayerAttr::kCell) == "lstm";
  r.tf32 = node.device->tf32;
  r.batch = node.inputs[x].sizes[0];
  r.time = node.inputs[x].sizes[1];
  r.features = node.inputs[x].sizes[2];
  r.units = node.inputs[x + 2].sizes[0];
  return r;
}

Support SupportsRecurrent(const NodeDesc& node) {
  if (Support s = NeedsDense(node); !s.ok) return s;
  const CudnnRecurrent r = DescribeRecurrent(node);
  if (r.dtype == DType::kBFloat16) {
    return Support::No("cuDNN has no recurrent nets in bfloat16");
  }
  if (r.time < 2) return Support::No("one step is a product and one loop");
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (r.batch * r.units > kMost || std::max({r.time, r.features, 4 * r.units}) > kMost) {
    return Support::No("counts with 31 bits");
  }
  try {
    Cudnn();
  } catch (const Error& e) {
    return Support::No(e.message());
  }
  return Support::Yes();
}

std::unique_ptr<KernelState> PrepareRecurrent(const NodeDesc& node) {
  auto s = std::make_unique<RecurrentState>();
  const CudnnRecurrent& r = s->what = DescribeRecurrent(node);
  s->pack.features = r.features;
  s->pack.units = r.units;
  s->pack.gates = r.gates();
  s->pack.biases = r.biases();
  s->pack.swaps = r.lstm ? 0 : 1;  // ours are update, reset, new; cuDNN's reset, update, new
  constexpr int kEach = kernels::kRecurrentTile * kernels::kRecurrentTile;
  s->shape.grid[0] =
      GridFor(r.gates() * r.units * (r.features + r.units), kEach / 256, 256, *node.device);
  int64_t end = 0;
  const auto take = [&end](int64_t bytes) { return std::exchange(end, Aligned(end + bytes)); };
  s->at_weights = take(r.weight_bytes());
  if (r.grad) {
    s->at_gradients = take(r.weight_bytes());
    s->at_saved = take(r.saved_bytes());
  }
  s->at_work = take(r.work_bytes());
  s->workspace_bytes = end;
  s->detail = StrCat(r.lstm ? "lstm " : "gru ", r.time, " steps of ", r.batch, "x", r.units);
  return s;
}

std::unique_ptr<KernelState> BindRecurrent(const std::shared_ptr<const KernelState>& state,
                                           const BindContext& to) {
  const CudaStream& stream = StreamOf(to);
  auto b = std::make_unique<BoundRecurrent>(std::static_pointer_cast<const RecurrentState>(state),
                                            stream);
  const CudnnRecurrent& r = b->plan->what;
  SetDescriptors(*b);
  CheckWeights(*b);
  CheckCudnn(
      Cudnn().cudnnGetRNNTempSpaceSizes(b->handle->raw(), b->net.get(), CUDNN_FWD_MODE_TRAINING,
                                        b->x.get(), &b->work_bytes, &b->saved_bytes),
      "sizing the memory of a recurrent net");
  if (static_cast<int64_t>(b->saved_bytes) > r.saved_bytes()) {
    FailOther("what the gradient needs", static_cast<int64_t>(b->saved_bytes), r.saved_bytes());
  }
  if (static_cast<int64_t>(b->work_bytes) > r.work_bytes()) {
    b->more_work = stream.cuda().memory().Allocate(b->work_bytes);
  }
  const int64_t size = SizeOf(r.dtype);
  b->pack = stream.cuda().Kernel("recurrent/pack", StrCat("recurrent_pack_", size));
  b->unpack = stream.cuda().Kernel("recurrent/pack", StrCat("recurrent_unpack_", size));
  return b;
}

void LaunchRecurrent(const KernelState& state, void* const* ptrs) {
  const auto& b = static_cast<const BoundRecurrent&>(state);
  const CudnnRecurrent& r = b.plan->what;
  const auto states = static_cast<size_t>(r.states());
  void* const* const out = ptrs + 4 + states;
  void* const workspace = out[2 + states];
  void* const weights = In(workspace, b.plan->at_weights);
  Pack(b, b.pack, ptrs[1], ptrs[2], ptrs[3], weights);
  const bool training = out[1] != nullptr;
  CheckCudnn(Cudnn().cudnnRNNForward(b.handle->raw(), b.net.get(),
                                     training ? CUDNN_FWD_MODE_TRAINING : CUDNN_FWD_MODE_INFERENCE,
                                     nullptr, b.x.get(), ptrs[0], b.y.get(), out[0], b.state.get(),
                                     ptrs[4], out[2], r.lstm ? b.state.get() : nullptr,
                                     r.lstm ? ptrs[5] : nullptr, r.lstm ? out[3] : nullptr,
                                     static_cast<size_t>(r.weight_bytes()), weights, b.work_bytes,
                                     WorkOf(b, workspace), training ? b.saved_bytes : 0, out[1]),
             "running a recurrent net");
}

void LaunchRecurrentGrad(const KernelState& state, void* const* ptrs) {
  enum Input { kDy, kX, kKernel, kRecurrent, kBias, kY, kSaved, kDLastH, kH, kDLastC, kC };
  enum Output { kDx, kDKernel, kDRecurrent, kDBias, kDH, kDC };
  const auto& b = static_cast<const BoundRecurrent&>(state);
  const CudnnRecurrent& r = b.plan->what;
  void* const* const out = ptrs + kDLastH + 2 * r.states();
  void* const workspace = out[kDH + r.states()];
  void *const weights = In(workspace, b.plan->at_weights),
              *const gradients = In(workspace, b.plan->at_gradients),
              *const saved = In(workspace, b.plan->at_saved), *const work = WorkOf(b, workspace);
  const auto weight_bytes = static_cast<size_t>(r.weight_bytes());
  Pack(b, b.pack, ptrs[kKernel], ptrs[kRecurrent], ptrs[kBias], weights);
  const auto at = [](const void* p) { return reinterpret_cast<CUdeviceptr>(p); };
  CheckDriver(
      Driver().cuMemcpyDtoDAsync(at(saved), at(ptrs[kSaved]), b.saved_bytes, b.stream.handle()),
      "copying what a recurrent net saved");
  CheckDriver(Driver().cuMemsetD8Async(at(gradients), 0, weight_bytes, b.stream.handle()),
              "clearing gradients");  // the library adds to them
  const cudnnTensorDescriptor_t cells = r.lstm ? b.state.get() : nullptr;
  CheckCudnn(Cudnn().cudnnRNNBackwardData_v8(
                 b.handle->raw(), b.net.get(), nullptr, b.y.get(), ptrs[kY], ptrs[kDy], b.x.get(),
                 out[kDx], b.state.get(), ptrs[kH], ptrs[kDLastH], out[kDH], cells,
                 r.lstm ? ptrs[kC] : nullptr, r.lstm ? ptrs[kDLastC] : nullptr,
                 r.lstm ? out[kDC] : nullptr, weight_bytes, weights, b.work_bytes, work,
                 b.saved_bytes, saved),
             "differentiating a recurrent net");
  CheckCudnn(Cudnn().cudnnRNNBackwardWeights_v8(
                 b.handle->raw(), b.net.get(), CUDNN_WGRAD_MODE_ADD, nullptr, b.x.get(), ptrs[kX],
                 b.state.get(), ptrs[kH], b.y.get(), ptrs[kY], weight_bytes, gradients,
                 b.work_bytes, work, b.saved_bytes, saved),
             "differentiating a recurrent net by its weights");
  Pack(b, b.unpack, out[kDKernel], out[kDRecurrent], out[kDBias], gradients);
}

}  // namespace ostria::cuda
