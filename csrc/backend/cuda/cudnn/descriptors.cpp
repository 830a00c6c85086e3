// SPDX-License-Identifier: Apache-2.0
// The tables from names to cuDNN's constants, and the descriptors made by them.
#include "backend/cuda/cudnn/descriptors.h"

#include <algorithm>

#include "base/check.h"

namespace ostria::cuda {
namespace {

struct Role {
  std::string_view name;
  cudnnBackendAttributeName_t attribute;
};

constexpr Role kConvForward[] = {{"x", CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X},
                                 {"w", CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W},
                                 {"y", CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y}};
constexpr Role kConvGradInput[] = {{"dy", CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
                                   {"w", CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W},
                                   {"dx", CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX}};
constexpr Role kConvGradFilter[] = {{"x", CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X},
                                    {"dy", CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY},
                                    {"dw", CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW}};
constexpr Role kPointwise[] = {
    {"x", CUDNN_ATTR_OPERATION_POINTWISE_XDESC},   {"b", CUDNN_ATTR_OPERATION_POINTWISE_BDESC},
    {"t", CUDNN_ATTR_OPERATION_POINTWISE_TDESC},   {"y", CUDNN_ATTR_OPERATION_POINTWISE_YDESC},
    {"dy", CUDNN_ATTR_OPERATION_POINTWISE_DYDESC}, {"dx", CUDNN_ATTR_OPERATION_POINTWISE_DXDESC}};
constexpr Role kMatmul[] = {{"a", CUDNN_ATTR_OPERATION_MATMUL_ADESC},
                            {"b", CUDNN_ATTR_OPERATION_MATMUL_BDESC},
                            {"c", CUDNN_ATTR_OPERATION_MATMUL_CDESC}};
constexpr Role kReduction[] = {{"x", CUDNN_ATTR_OPERATION_REDUCTION_XDESC},
                               {"y", CUDNN_ATTR_OPERATION_REDUCTION_YDESC}};
constexpr Role kGenStats[] = {{"x", CUDNN_ATTR_OPERATION_GENSTATS_XDESC},
                              {"sum", CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC},
                              {"square_sum", CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC}};
constexpr Role kBnFinalize[] = {
    {"sum", CUDNN_ATTR_OPERATION_BN_FINALIZE_Y_SUM_DESC},
    {"square_sum", CUDNN_ATTR_OPERATION_BN_FINALIZE_Y_SQ_SUM_DESC},
    {"scale", CUDNN_ATTR_OPERATION_BN_FINALIZE_SCALE_DESC},
    {"bias", CUDNN_ATTR_OPERATION_BN_FINALIZE_BIAS_DESC},
    {"old_mean", CUDNN_ATTR_OPERATION_BN_FINALIZE_PREV_RUNNING_MEAN_DESC},
    {"old_var", CUDNN_ATTR_OPERATION_BN_FINALIZE_PREV_RUNNING_VAR_DESC},
    {"new_mean", CUDNN_ATTR_OPERATION_BN_FINALIZE_UPDATED_RUNNING_MEAN_DESC},
    {"new_var", CUDNN_ATTR_OPERATION_BN_FINALIZE_UPDATED_RUNNING_VAR_DESC},
    {"mean", CUDNN_ATTR_OPERATION_BN_FINALIZE_SAVED_MEAN_DESC},
    {"rstd", CUDNN_ATTR_OPERATION_BN_FINALIZE_SAVED_INV_STD_DESC},
    {"factor", CUDNN_ATTR_OPERATION_BN_FINALIZE_EQ_SCALE_DESC},
    {"shift", CUDNN_ATTR_OPERATION_BN_FINALIZE_EQ_BIAS_DESC},
    {"count", CUDNN_ATTR_OPERATION_BN_FINALIZE_ACCUM_COUNT_DESC},
    {"epsilon", CUDNN_ATTR_OPERATION_BN_FINALIZE_EPSILON_DESC},
    {"rate", CUDNN_ATTR_OPERATION_BN_FINALIZE_EXP_AVERATE_FACTOR_DESC}};
constexpr Role kBnGradWeights[] = {
    {"mean", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MEAN_DESC},
    {"rstd", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_INVSTD_DESC},
    {"scale", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_BN_SCALE_DESC},
    {"x", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_X_DESC},
    {"dy", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DY_DESC},
    {"dscale", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_SCALE_DESC},
    {"dbias", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_BIAS_DESC},
    {"dy_factor", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_DY_SCALE_DESC},
    {"x_factor", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_X_SCALE_DESC},
    {"shift", CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_BIAS}};
constexpr Role kNormForward[] = {
    {"x", CUDNN_ATTR_OPERATION_NORM_FWD_XDESC},
    {"scale", CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC},
    {"bias", CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC},
    {"epsilon", CUDNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC},
    {"mean", CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC},
    {"rstd", CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC},
    {"rate", CUDNN_ATTR_OPERATION_NORM_FWD_EXP_AVG_FACTOR_DESC},
    {"old_mean", CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_MEAN_DESC},
    {"old_var", CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_VAR_DESC},
    {"new_mean", CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_MEAN_DESC},
    {"new_var", CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_VAR_DESC},
    {"y", CUDNN_ATTR_OPERATION_NORM_FWD_YDESC}};
constexpr Role kNormGrad[] = {{"x", CUDNN_ATTR_OPERATION_NORM_BWD_XDESC},
                              {"mean", CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC},
                              {"rstd", CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC},
                              {"dy", CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC},
                              {"scale", CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC},
                              {"epsilon", CUDNN_ATTR_OPERATION_NORM_BWD_EPSILON_DESC},
                              {"dscale", CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC},
                              {"dbias", CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC},
                              {"dx", CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC}};
constexpr Role kPoolForward[] = {{"x", CUDNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC},
                                 {"y", CUDNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC},
                                 {"index", CUDNN_ATTR_OPERATION_RESAMPLE_FWD_IDXDESC}};
constexpr Role kPoolGrad[] = {{"dy", CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DYDESC},
                              {"index", CUDNN_ATTR_OPERATION_RESAMPLE_BWD_IDXDESC},
                              {"x", CUDNN_ATTR_OPERATION_RESAMPLE_BWD_XDESC},
                              {"y", CUDNN_ATTR_OPERATION_RESAMPLE_BWD_YDESC},
                              {"dx", CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DXDESC}};

constexpr Role kReshape[] = {{"x", CUDNN_ATTR_OPERATION_RESHAPE_XDESC},
                             {"y", CUDNN_ATTR_OPERATION_RESHAPE_YDESC}};

struct Row {
  cudnnBackendDescriptorType_t type;
  std::span<const Role> roles;
};
// In the order of GraphOp.
constexpr Row kRows[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, kConvForward},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, kConvGradInput},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, kConvGradFilter},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, kPointwise},
    {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, kMatmul},
    {CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, kReduction},
    {CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR, kGenStats},
    {CUDNN_BACKEND_OPERATION_BN_FINALIZE_STATISTICS_DESCRIPTOR, kBnFinalize},
    {CUDNN_BACKEND_OPERATION_BN_BWD_WEIGHTS_DESCRIPTOR, kBnGradWeights},
    {CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR, kNormForward},
    {CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR, kNormGrad},
    {CUDNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR, kPoolForward},
    {CUDNN_BACKEND_OPERATION_RESAMPLE_BWD_DESCRIPTOR, kPoolGrad},
    {CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, kReshape},
};

struct Mode {
  std::string_view name;
  int value;
};
constexpr Mode kPointwiseModes[] = {
    {"add", CUDNN_POINTWISE_ADD},           {"sub", CUDNN_POINTWISE_SUB},
    {"mul", CUDNN_POINTWISE_MUL},           {"div", CUDNN_POINTWISE_DIV},
    {"exp", CUDNN_POINTWISE_EXP},           {"log", CUDNN_POINTWISE_LOG},
    {"identity", CUDNN_POINTWISE_IDENTITY}, {"relu", CUDNN_POINTWISE_RELU_FWD},
    {"tanh", CUDNN_POINTWISE_TANH_FWD},     {"sigmoid", CUDNN_POINTWISE_SIGMOID_FWD},
    {"gelu", CUDNN_POINTWISE_GELU_FWD},     {"gelu_tanh", CUDNN_POINTWISE_GELU_APPROX_TANH_FWD},
    {"silu", CUDNN_POINTWISE_SWISH_FWD},    {"relu_grad", CUDNN_POINTWISE_RELU_BWD},
    {"index", CUDNN_POINTWISE_GEN_INDEX},   {"greater_equal", CUDNN_POINTWISE_CMP_GE},
    {"less", CUDNN_POINTWISE_CMP_LT},       {"select", CUDNN_POINTWISE_BINARY_SELECT}};
constexpr Mode kReductionModes[] = {{"add", CUDNN_REDUCE_TENSOR_ADD},
                                    {"max", CUDNN_REDUCE_TENSOR_MAX}};
constexpr Mode kNormModes[] = {
    {"layer", CUDNN_LAYER_NORM}, {"batch", CUDNN_BATCH_NORM}, {"rms", CUDNN_RMS_NORM}};
constexpr Mode kPoolModes[] = {{"max", CUDNN_RESAMPLE_MAXPOOL},
                               {"average", CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING}};

// An enumerator of cuDNN's by its name.
template <class E>
E Find(std::span<const Mode> modes, const GraphNode& n) {
  for (const Mode& m : modes) {
    if (m.name == n.settings.mode) return static_cast<E>(m.value);
  }
  Fail(ErrorCode::kInternal, "cuDNN: ", Name(n.op), " has no mode '", n.settings.mode, "'");
}

// One value whose C type is an enumeration of cuDNN's.
template <class E>
void SetEnum(Descriptor& d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
             E value) {
  d.Set(name, type, 1, &value);
}
void SetType(Descriptor& d, cudnnBackendAttributeName_t name, DType dtype) {
  SetEnum(d, name, CUDNN_TYPE_DATA_TYPE, CudnnType(dtype));
}

Descriptor MakeTensor(const GraphTensor& t) {
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  SetType(d, CUDNN_ATTR_TENSOR_DATA_TYPE, t.dtype);
  d.Set(CUDNN_ATTR_TENSOR_DIMENSIONS, t.sizes);
  d.Set(CUDNN_ATTR_TENSOR_STRIDES, t.strides);
  d.Set(CUDNN_ATTR_TENSOR_UNIQUE_ID, t.uid);
  d.Set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, t.alignment);
  if (t.is_virtual) SetEnum(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, true);
  if (t.by_value) SetEnum(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, true);
  d.Finalize(StrCat("describing tensor ", t.uid));
  return d;
}

Descriptor MakeConvolution(const GraphSettings& s) {
  Descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  SetType(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, s.compute);
  SetEnum(d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE,
          CUDNN_CROSS_CORRELATION);
  d.Set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, static_cast<int64_t>(s.stride.size()));
  d.Set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, s.low);
  d.Set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, s.high);
  d.Set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, s.stride);
  d.Set(CUDNN_ATTR_CONVOLUTION_DILATIONS, s.dilation);
  d.Finalize("describing a convolution");
  return d;
}

Descriptor MakePointwise(const GraphNode& n) {
  Descriptor d(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  SetEnum(d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE,
          Find<cudnnPointwiseMode_t>(kPointwiseModes, n));
  SetType(d, CUDNN_ATTR_POINTWISE_MATH_PREC, n.settings.compute);
  if (n.settings.axis >= 0) d.Set(CUDNN_ATTR_POINTWISE_AXIS, n.settings.axis);
  d.Finalize(StrCat("describing ", n.settings.mode));
  return d;
}

Descriptor MakePool(const GraphNode& n) {
  const GraphSettings& s = n.settings;
  const auto mode = Find<cudnnResampleMode_t>(kPoolModes, n);
  const auto fractions = [](const std::vector<int64_t>& values) {
    std::vector<cudnnFraction_t> out;
    for (int64_t v : values) out.push_back({v, 1});
    return out;
  };
  Descriptor d(CUDNN_BACKEND_RESAMPLE_DESCRIPTOR);
  SetEnum(d, CUDNN_ATTR_RESAMPLE_MODE, CUDNN_TYPE_RESAMPLE_MODE, mode);
  SetType(d, CUDNN_ATTR_RESAMPLE_COMP_TYPE, s.compute);
  d.Set(CUDNN_ATTR_RESAMPLE_SPATIAL_DIMS, static_cast<int64_t>(s.size.size()));
  SetEnum(d, CUDNN_ATTR_RESAMPLE_PADDING_MODE, CUDNN_TYPE_PADDING_MODE,
          mode == CUDNN_RESAMPLE_MAXPOOL ? CUDNN_NEG_INF_PAD : CUDNN_ZERO_PAD);
  SetEnum(d, CUDNN_ATTR_RESAMPLE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, CUDNN_PROPAGATE_NAN);
  for (const auto& [name, values] : {std::pair(CUDNN_ATTR_RESAMPLE_WINDOW_DIMS, &s.size),
                                     std::pair(CUDNN_ATTR_RESAMPLE_PRE_PADDINGS, &s.low),
                                     std::pair(CUDNN_ATTR_RESAMPLE_POST_PADDINGS, &s.high),
                                     std::pair(CUDNN_ATTR_RESAMPLE_STRIDES, &s.stride)}) {
    const auto f = fractions(*values);
    d.Set(name, CUDNN_TYPE_FRACTION, static_cast<int64_t>(f.size()), f.data());
  }
  d.Finalize("describing a pool");
  return d;
}

// The descriptor of the operation itself without its tensors; what it refers to goes to `parts`.
Descriptor MakeOperation(const GraphNode& n, std::vector<Descriptor>& parts) {
  Descriptor d(kRows[static_cast<size_t>(n.op)].type);
  const DType compute = n.settings.compute;
  const auto refer = [&](cudnnBackendAttributeName_t name, Descriptor part) {
    d.Set(name, part);
    parts.push_back(std::move(part));
  };
  const auto scale = [&](cudnnBackendAttributeName_t alpha, cudnnBackendAttributeName_t beta) {
    const float one = 1, zero = 0;
    d.Set(alpha, CUDNN_TYPE_FLOAT, 1, &one);
    d.Set(beta, CUDNN_TYPE_FLOAT, 1, &zero);
  };
  switch (n.op) {
    case GraphOp::kConvForward:
      refer(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, MakeConvolution(n.settings));
      scale(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA);
      break;
    case GraphOp::kConvGradInput:
      refer(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, MakeConvolution(n.settings));
      scale(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA);
      break;
    case GraphOp::kConvGradFilter:
      refer(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, MakeConvolution(n.settings));
      scale(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA);
      break;
    case GraphOp::kPointwise:
      refer(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, MakePointwise(n));
      break;
    case GraphOp::kMatmul: {
      Descriptor part(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
      SetType(part, CUDNN_ATTR_MATMUL_COMP_TYPE, compute);
      part.Finalize("describing a matrix product");
      refer(CUDNN_ATTR_OPERATION_MATMUL_DESC, std::move(part));
      break;
    }
    case GraphOp::kReduction: {
      Descriptor part(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
      SetType(part, CUDNN_ATTR_REDUCTION_COMP_TYPE, compute);
      SetEnum(part, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE,
              Find<cudnnReduceTensorOp_t>(kReductionModes, n));
      part.Finalize("describing a reduction");
      refer(CUDNN_ATTR_OPERATION_REDUCTION_DESC, std::move(part));
      break;
    }
    case GraphOp::kGenStats:
      SetEnum(d, CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_TYPE_GENSTATS_MODE,
              CUDNN_GENSTATS_SUM_SQSUM);
      SetType(d, CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, compute);
      break;
    case GraphOp::kBnFinalize:
      SetEnum(d, CUDNN_ATTR_OPERATION_BN_FINALIZE_STATS_MODE, CUDNN_TYPE_BN_FINALIZE_STATS_MODE,
              CUDNN_BN_FINALIZE_STATISTICS_TRAINING);
      SetType(d, CUDNN_ATTR_OPERATION_BN_FINALIZE_MATH_PREC, compute);
      break;
    case GraphOp::kBnGradWeights:
      SetType(d, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MATH_PREC, compute);
      break;
    case GraphOp::kNormForward:
      SetEnum(d, CUDNN_ATTR_OPERATION_NORM_FWD_MODE, CUDNN_TYPE_NORM_MODE,
              Find<cudnnBackendNormMode_t>(kNormModes, n));
      SetEnum(d, CUDNN_ATTR_OPERATION_NORM_FWD_PHASE, CUDNN_TYPE_NORM_FWD_PHASE,
              CUDNN_NORM_FWD_TRAINING);
      break;
    case GraphOp::kNormGrad:
      SetEnum(d, CUDNN_ATTR_OPERATION_NORM_BWD_MODE, CUDNN_TYPE_NORM_MODE,
              Find<cudnnBackendNormMode_t>(kNormModes, n));
      break;
    case GraphOp::kPoolForward: refer(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_DESC, MakePool(n)); break;
    case GraphOp::kPoolGrad: refer(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DESC, MakePool(n)); break;
    case GraphOp::kReshape: break;
  }
  return d;
}

}  // namespace

cudnnDataType_t CudnnType(DType dtype) {
  switch (dtype) {
    case DType::kBool: return CUDNN_DATA_BOOLEAN;
    case DType::kInt8: return CUDNN_DATA_INT8;
    case DType::kUInt8: return CUDNN_DATA_UINT8;
    case DType::kInt32: return CUDNN_DATA_INT32;
    case DType::kInt64: return CUDNN_DATA_INT64;
    case DType::kFloat16: return CUDNN_DATA_HALF;
    case DType::kBFloat16: return CUDNN_DATA_BFLOAT16;
    case DType::kFloat32: return CUDNN_DATA_FLOAT;
    case DType::kFloat64: return CUDNN_DATA_DOUBLE;
    default: Fail(ErrorCode::kInternal, "cuDNN: there are no tensors of ", dtype);
  }
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  CheckCudnn(Cudnn().cudnnBackendCreateDescriptor(type, &raw_), "making a descriptor");
}

Descriptor::~Descriptor() {
  if (raw_ != nullptr) Cudnn().cudnnBackendDestroyDescriptor(raw_);
}

void Descriptor::Set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     int64_t count, const void* values) {
  CheckCudnn(Cudnn().cudnnBackendSetAttribute(raw_, name, type, count, values),
             StrCat("setting attribute ", static_cast<int>(name)));
}

void Descriptor::Finalize(std::string_view what) {
  CheckCudnn(Cudnn().cudnnBackendFinalize(raw_), what);
}

int64_t Descriptor::Get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                        int64_t capacity, void* values) const {
  int64_t count = 0;
  CheckCudnn(Cudnn().cudnnBackendGetAttribute(raw_, name, type, capacity, &count, values),
             StrCat("reading attribute ", static_cast<int>(name)));
  return count;
}

int64_t Descriptor::GetInt(cudnnBackendAttributeName_t name) const {
  int64_t value = 0;
  Get(name, CUDNN_TYPE_INT64, 1, &value);
  return value;
}

std::string Descriptor::GetText(cudnnBackendAttributeName_t name) const {
  std::string text(static_cast<size_t>(Get(name, CUDNN_TYPE_CHAR, 0, nullptr)), '\0');
  Get(name, CUDNN_TYPE_CHAR, static_cast<int64_t>(text.size()), text.data());
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

OperationGraph::OperationGraph(const CudnnGraph& graph) {
  for (const GraphTensor& t : graph.tensors()) parts_.push_back(MakeTensor(t));
  std::vector<Descriptor> operations;
  for (const GraphNode& n : graph.nodes()) {
    Descriptor d = MakeOperation(n, parts_);
    const auto roles = kRows[static_cast<size_t>(n.op)].roles;
    for (const auto& [name, uid] : n.tensors) {
      const auto role =
          std::find_if(roles.begin(), roles.end(), [&](const Role& r) { return r.name == name; });
      OSTRIA_CHECK(role != roles.end(), Name(n.op), " has no ", name);
      d.Set(role->attribute, parts_[static_cast<size_t>(uid - 1)]);
    }
    d.Finalize(StrCat("describing ", Name(n.op)));
    operations.push_back(std::move(d));
  }
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& d : operations) raw.push_back(d.raw());
  graph_ = std::make_unique<Descriptor>(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph_->Set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              static_cast<int64_t>(raw.size()), raw.data());
  graph_->Finalize("describing a graph");
  for (Descriptor& d : operations) parts_.push_back(std::move(d));
}

}  // namespace ostria::cuda
