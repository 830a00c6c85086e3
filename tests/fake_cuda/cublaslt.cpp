// SPDX-License-Identifier: Apache-2.0
// cuBLASLt over host memory: descriptors keep what is set, products are plain loops that run in
// the order of their stream. What is refused is what csrc/backend/cuda/cublaslt/rules.h says. The
// heuristics offer up to three algorithms: an in-place split-K that nobody should ask for, one that
// is slow, and one that is fast but needs workspace and aligned operands.
#include "fake_cuda/cublaslt.h"

#include <cublasLt.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backend/cuda/cublaslt/rules.h"
#include "core/dtype.h"
#include "fake_cuda/enqueue.h"
#include "kernels/scalar/functors.h"

using ostria::BFloat16;
using ostria::Float16;
using ostria::cuda::LtMatrix;
using ostria::cuda::LtProblem;
namespace kernels = ostria::kernels;

namespace {

std::mutex mutex;
std::map<std::string, int64_t> counts;
void Count(const char* what) {
  std::lock_guard lock(mutex);
  ++counts[what];
}

// Handles of the library are pointers to structs that it alone understands.
struct Attributes {
  std::map<int, std::vector<char>> set;
  template <class T>
  T Get(int attribute, T otherwise = T()) const {
    const auto it = set.find(attribute);
    if (it == set.end()) return otherwise;
    T value;
    std::memcpy(&value, it->second.data(), sizeof value);
    return value;
  }
};
struct Op : Attributes {
  cublasComputeType_t compute;
  cudaDataType scale;
};
struct Matrix : Attributes {
  LtMatrix m;
};
Op* Of(cublasLtMatmulDesc_t p) { return reinterpret_cast<Op*>(p); }
Matrix* Of(cublasLtMatrixLayout_t p) { return reinterpret_cast<Matrix*>(p); }
Attributes* Of(cublasLtMatmulPreference_t p) { return reinterpret_cast<Attributes*>(p); }

cublasStatus_t SetSized(Attributes* a, int attribute, size_t expected, const void* value,
                        size_t bytes) {
  if (value == nullptr || expected == 0 || bytes != expected) return CUBLAS_STATUS_INVALID_VALUE;
  const auto* from = static_cast<const char*>(value);
  a->set[attribute].assign(from, from + bytes);
  return CUBLAS_STATUS_SUCCESS;
}

size_t SizeOf(cublasLtMatmulDescAttributes_t a) {
  switch (a) {
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE:
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE: return 8;
    case CUBLASLT_MATMUL_DESC_TRANSA:
    case CUBLASLT_MATMUL_DESC_TRANSB:
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return 4;
    default: return 0;
  }
}
size_t SizeOf(cublasLtMatrixLayoutAttribute_t a) {
  switch (a) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return 4;
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return 8;
    default: return 0;
  }
}
size_t SizeOf(cublasLtMatmulPreferenceAttributes_t a) {
  return a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? 8 : 4;
}

LtProblem ProblemOf(const Op& op, const Matrix& a, const Matrix& b, const Matrix& d) {
  LtProblem p;
  p.compute = op.compute;
  p.scale = op.scale;
  p.transpose_a = op.Get<int32_t>(CUBLASLT_MATMUL_DESC_TRANSA) == CUBLAS_OP_T;
  p.transpose_b = op.Get<int32_t>(CUBLASLT_MATMUL_DESC_TRANSB) == CUBLAS_OP_T;
  const auto matrix = [&](const Matrix& m) {
    LtMatrix out = m.m;
    out.stride = m.Get<int64_t>(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
    return out;
  };
  p.a = matrix(a);
  p.b = matrix(b);
  p.d = matrix(d);
  p.batches = d.Get<int32_t>(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 1);
  p.epilogue = static_cast<cublasLtEpilogue_t>(
      op.Get<uint32_t>(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT));
  p.bias_type = static_cast<cudaDataType>(
      op.Get<int32_t>(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(p.d.type)));
  p.aux_ld = op.Get<int64_t>(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
  p.aux_stride = op.Get<int64_t>(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE);
  return p;
}

// --- algorithms --------------------------------------------------------------------------------

struct Algorithm {
  const char* name;
  uint32_t reduction;
  int alignment;  // bytes that operands need
  size_t workspace;
  std::chrono::microseconds takes;
};
constexpr Algorithm kAlgorithms[] = {
    {"in place", CUBLASLT_REDUCTION_SCHEME_INPLACE, 1, 0, std::chrono::microseconds(0)},
    {"slow", CUBLASLT_REDUCTION_SCHEME_NONE, 1, 0, std::chrono::microseconds(300)},
    {"fast", CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 16, 1 << 16, std::chrono::microseconds(0)}};
constexpr uint64_t kMark = 0x6661b1a5;

const Algorithm* AlgorithmOf(const cublasLtMatmulAlgo_t& algo) {
  if (algo.data[0] != kMark || algo.data[1] >= std::size(kAlgorithms)) return nullptr;
  return &kAlgorithms[algo.data[1]];
}

// --- arithmetic --------------------------------------------------------------------------------

double Read(const void* at, int64_t i, cudaDataType type) {
  switch (type) {
    case CUDA_R_64F: return static_cast<const double*>(at)[i];
    case CUDA_R_16F: return static_cast<float>(static_cast<const Float16*>(at)[i]);
    case CUDA_R_16BF: return static_cast<float>(static_cast<const BFloat16*>(at)[i]);
    default: return static_cast<const float*>(at)[i];
  }
}
void Write(void* at, int64_t i, cudaDataType type, double x) {
  const auto narrow = static_cast<float>(x);
  switch (type) {
    case CUDA_R_64F: static_cast<double*>(at)[i] = x; return;
    case CUDA_R_16F: static_cast<Float16*>(at)[i] = Float16(narrow); return;
    case CUDA_R_16BF: static_cast<BFloat16*>(at)[i] = BFloat16(narrow); return;
    default: static_cast<float*>(at)[i] = narrow; return;
  }
}

double Rounded(double x, cublasComputeType_t compute) {
  if (compute != CUBLAS_COMPUTE_32F_FAST_TF32) return x;
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(x));
  return std::bit_cast<float>((bits + 0xfffu + (bits >> 13 & 1)) & ~0x1fffu);
}

double GeluTanh(double x) { return kernels::Functor<kernels::ScalarOp::kGeluTanh>::Call(x); }
double GeluTanhGrad(double g, double x) {
  return kernels::Functor<kernels::ScalarOp::kGeluTanhGrad>::Call(g, x);
}

struct Call {
  LtProblem p;
  double alpha = 1, beta = 0;
  const void *a = nullptr, *b = nullptr, *c = nullptr;
  void *d = nullptr, *bias = nullptr, *aux = nullptr;
};

// Element (i, j) of the sum, with bias and activation. ReLU's mask is one bit per element.
double Finish(const Call& call, int64_t batch, int64_t i, int64_t j, double x) {
  const LtProblem& p = call.p;
  const auto e = static_cast<uint32_t>(p.epilogue);
  if (ostria::cuda::AddsBias(p.epilogue)) x += Read(call.bias, i, p.bias_type);
  const int64_t at = batch * p.aux_stride + j * p.aux_ld + i;
  auto* const mask = static_cast<unsigned char*>(call.aux);
  const auto bit = static_cast<unsigned char>(1u << (at % 8));
  switch (e & ~uint32_t{CUBLASLT_EPILOGUE_BIAS}) {
    case CUBLASLT_EPILOGUE_RELU_AUX:
      mask[at / 8] = static_cast<unsigned char>(x > 0 ? mask[at / 8] | bit : mask[at / 8] & ~bit);
      return x > 0 || std::isnan(x) ? x : 0;
    case CUBLASLT_EPILOGUE_RELU: return x > 0 || std::isnan(x) ? x : 0;
    case CUBLASLT_EPILOGUE_GELU_AUX: Write(call.aux, at, p.d.type, x); return GeluTanh(x);
    case CUBLASLT_EPILOGUE_GELU: return GeluTanh(x);
    case CUBLASLT_EPILOGUE_DRELU:
    case CUBLASLT_EPILOGUE_DRELU_BGRAD: return (mask[at / 8] & bit) != 0 ? x : 0;
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_DGELU_BGRAD: return GeluTanhGrad(x, Read(call.aux, at, p.d.type));
    default: return x;
  }
}

void Multiply(const Call& call) {
  const LtProblem& p = call.p;
  const int64_t m = p.rows(), n = p.cols(), k = p.inner();
  std::vector<double> a(static_cast<size_t>(m * k)), b(static_cast<size_t>(k * n));
  std::vector<double> bias(static_cast<size_t>(std::max(m, n)));
  for (int64_t batch = 0; batch < p.batches; ++batch) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t q = 0; q < k; ++q) {
        const int64_t at = p.transpose_a ? i * p.a.ld + q : q * p.a.ld + i;
        a[static_cast<size_t>(i * k + q)] =
            Rounded(Read(call.a, batch * p.a.stride + at, p.a.type), p.compute);
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t q = 0; q < k; ++q) {
        const int64_t at = p.transpose_b ? q * p.b.ld + j : j * p.b.ld + q;
        b[static_cast<size_t>(j * k + q)] =
            Rounded(Read(call.b, batch * p.b.stride + at, p.b.type), p.compute);
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < m; ++i) {
        double sum = 0;
        for (int64_t q = 0; q < k; ++q) {
          sum += a[static_cast<size_t>(i * k + q)] * b[static_cast<size_t>(j * k + q)];
        }
        const int64_t at = batch * p.d.stride + j * p.d.ld + i;
        sum *= call.alpha;
        if (call.beta != 0) sum += call.beta * Read(call.c, at, p.d.type);
        const double y = Finish(call, batch, i, j, sum);
        bias[static_cast<size_t>(i)] += y;
        Write(call.d, at, p.d.type, y);
      }
    }
  }
  if (!ostria::cuda::WritesBiasGradient(p.epilogue)) return;
  if (p.epilogue == CUBLASLT_EPILOGUE_BGRADA || p.epilogue == CUBLASLT_EPILOGUE_BGRADB) {
    const std::vector<double>& of = p.epilogue == CUBLASLT_EPILOGUE_BGRADA ? a : b;
    for (int64_t i = 0; i < ostria::cuda::BiasLength(p); ++i) {
      bias[static_cast<size_t>(i)] = 0;
      for (int64_t q = 0; q < k; ++q) {
        bias[static_cast<size_t>(i)] += of[static_cast<size_t>(i * k + q)];
      }
    }
  }
  for (int64_t i = 0; i < ostria::cuda::BiasLength(p); ++i) {
    Write(call.bias, i, p.bias_type, bias[static_cast<size_t>(i)]);
  }
}

bool IsAligned(const void* at, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(at) % static_cast<uintptr_t>(bytes) == 0;
}

// Strides between matrices and columns count as well: vectors are read all over.
bool Fits(const Algorithm& a, const LtProblem& p, int alignment) {
  return alignment >= a.alignment && (a.alignment == 1 || ostria::cuda::Misalignment(p).empty());
}

}  // namespace

extern "C" {

int64_t fake_cublaslt_count(const char* what) {
  std::lock_guard lock(mutex);
  return counts[what];
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  Count("cublasLtCreate");
  *handle = reinterpret_cast<cublasLtHandle_t>(new int(0));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  Count("cublasLtDestroy");
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return 130100; }
const char* cublasLtGetStatusString(cublasStatus_t s) {
  return s == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "an invalid value";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* made, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  auto* op = new Op;
  op->compute = compute;
  op->scale = scale;
  *made = reinterpret_cast<cublasLtMatmulDesc_t>(op);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t p) {
  delete Of(p);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t p,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  return SetSized(Of(p), attribute, SizeOf(attribute), value, bytes);
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* made, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  auto* m = new Matrix;
  m->m = {type, static_cast<int64_t>(rows), static_cast<int64_t>(cols), ld, 0};
  *made = reinterpret_cast<cublasLtMatrixLayout_t>(m);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t p) {
  delete Of(p);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t p,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  return SetSized(Of(p), attribute, SizeOf(attribute), value, bytes);
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* made) {
  *made = reinterpret_cast<cublasLtMatmulPreference_t>(new Attributes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete Of(p);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  return SetSized(Of(p), attribute, SizeOf(attribute), value, bytes);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t op,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* returned) {
  Count("cublasLtMatmulAlgoGetHeuristic");
  *returned = 0;
  const LtProblem p = ProblemOf(*Of(op), *Of(a), *Of(b), *Of(d));
  if (!ostria::cuda::Legal(p).ok) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Attributes& wanted = *Of(preference);
  const auto schemes = wanted.Get<uint32_t>(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                            CUBLASLT_REDUCTION_SCHEME_MASK);
  const auto workspace = wanted.Get<uint64_t>(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
  uint32_t alignment = 256;
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    alignment = std::min(alignment, wanted.Get<uint32_t>(attribute, 256));
  }
  for (uint64_t i = 0; i < std::size(kAlgorithms) && *returned < requested; ++i) {
    const Algorithm& offered = kAlgorithms[i];
    if ((offered.reduction & ~schemes) != 0 || offered.workspace > workspace ||
        !Fits(offered, p, static_cast<int>(alignment))) {
      continue;
    }
    cublasLtMatmulHeuristicResult_t& r = results[(*returned)++];
    r = {};
    r.algo.data[0] = kMark;
    r.algo.data[1] = i;
    r.workspaceSize = offered.workspace;
    r.state = CUBLAS_STATUS_SUCCESS;
  }
  return *returned == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t op,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo,
                                       cublasLtMatmulHeuristicResult_t* result) {
  Count("cublasLtMatmulAlgoCheck");
  const LtProblem p = ProblemOf(*Of(op), *Of(a), *Of(b), *Of(d));
  const Algorithm* chosen = AlgorithmOf(*algo);
  if (chosen == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (!ostria::cuda::Legal(p).ok || !Fits(*chosen, p, 16)) return CUBLAS_STATUS_NOT_SUPPORTED;
  result->workspaceSize = chosen->workspace;
  result->state = CUBLAS_STATUS_SUCCESS;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void* value, size_t bytes, size_t* written) {
  const Algorithm* a = AlgorithmOf(*algo);
  if (a == nullptr || attribute != CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME || bytes != 4) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memcpy(value, &a->reduction, 4);
  if (written != nullptr) *written = 4;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t op, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t adesc, const void* b,
                              cublasLtMatrixLayout_t bdesc, const void* beta, const void* c,
                              cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t ddesc,
                              const cublasLtMatmulAlgo_t* algo, void* workspace, size_t bytes,
                              cudaStream_t stream) {
  Count("cublasLtMatmul");
  Call call;
  call.p = ProblemOf(*Of(op), *Of(adesc), *Of(bdesc), *Of(ddesc));
  const Algorithm* chosen = AlgorithmOf(*algo);
  if (chosen == nullptr || !ostria::cuda::Legal(call.p).ok) return CUBLAS_STATUS_INVALID_VALUE;
  Count(chosen->name);
  call.alpha = Read(alpha, 0, call.p.scale);
  call.beta = Read(beta, 0, call.p.scale);
  call.a = a;
  call.b = b;
  call.c = c;
  call.d = d;
  call.bias = Of(op)->Get<void*>(CUBLASLT_MATMUL_DESC_BIAS_POINTER);
  call.aux = Of(op)->Get<void*>(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
  const int64_t align = std::max<int64_t>(chosen->alignment, ostria::cuda::BytesOf(call.p.a.type));
  if (!IsAligned(a, align) || !IsAligned(b, align) || !Fits(*chosen, call.p, 16) ||
      (chosen->alignment > 1 && !IsAligned(d, align)) ||
      (chosen->workspace > 0 && (workspace == nullptr || !IsAligned(workspace, 256))) ||
      bytes < chosen->workspace || (ostria::cuda::BiasLength(call.p) > 0 && call.bias == nullptr) ||
      (ostria::cuda::HasAux(call.p.epilogue) && call.aux == nullptr)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const size_t touched = chosen->workspace;
  const auto takes = chosen->takes;
  const CUresult result = fake_cuda::Enqueue(reinterpret_cast<CUstream>(stream), [=] {
    if (touched > 0) std::memset(workspace, 0x7f, touched);
    if (takes.count() > 0) std::this_thread::sleep_for(takes);
    Multiply(call);
  });
  return result == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
