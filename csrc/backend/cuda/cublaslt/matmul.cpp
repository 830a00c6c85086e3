// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cublaslt/matmul.h"

#include <algorithm>

namespace ostria::cuda {
namespace {

constexpr float kOne = 1, kZero = 0;
constexpr double kOne64 = 1, kZero64 = 0;

constexpr uint32_t kReductionsInOrder =
    CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;

template <class Value>
void Set(const CublasLtTable& lt, cublasLtMatmulDesc_t op, cublasLtMatmulDescAttributes_t attribute,
         Value value) {
  CheckCublasLt(lt.cublasLtMatmulDescSetAttribute(op, attribute, &value, sizeof value),
                "describing a product");
}
template <class Value>
void Set(const CublasLtTable& lt, cublasLtMatrixLayout_t m,
         cublasLtMatrixLayoutAttribute_t attribute, Value value) {
  CheckCublasLt(lt.cublasLtMatrixLayoutSetAttribute(m, attribute, &value, sizeof value),
                "describing a matrix");
}

struct Preference {
  explicit Preference(const CublasLtTable& table) : lt(table) {
    CheckCublasLt(lt.cublasLtMatmulPreferenceCreate(&handle), "stating a preference");
  }
  ~Preference() { lt.cublasLtMatmulPreferenceDestroy(handle); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  template <class Value>
  void Set(cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
    CheckCublasLt(lt.cublasLtMatmulPreferenceSetAttribute(handle, attribute, &value, sizeof value),
                  "stating a preference");
  }
  const CublasLtTable& lt;
  cublasLtMatmulPreference_t handle = nullptr;
};

}  // namespace

LtHandle::LtHandle(const CudaStream& stream) {
  stream.cuda().MakeCurrent();
  CheckCublasLt(CublasLt().cublasLtCreate(&handle_), "starting the library");
}
LtHandle::~LtHandle() { CublasLt().cublasLtDestroy(handle_); }

auto LtDescriptors::Layout(const CublasLtTable& lt, const LtMatrix& m, int64_t batches)
    -> Owned<cublasLtMatrixLayout_t> {
  cublasLtMatrixLayout_t made = nullptr;
  CheckCublasLt(lt.cublasLtMatrixLayoutCreate(&made, m.type, static_cast<uint64_t>(m.rows),
                                              static_cast<uint64_t>(m.cols), m.ld),
                "describing a matrix");
  Owned<cublasLtMatrixLayout_t> owned(made, {lt.cublasLtMatrixLayoutDestroy});
  if (batches > 1) {
    Set(lt, made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<int32_t>(batches));
    Set(lt, made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, m.stride);
  }
  return owned;
}

LtDescriptors::LtDescriptors(const CublasLtTable& lt, const LtProblem& p)
    : op_(nullptr, {lt.cublasLtMatmulDescDestroy}),
      a_(Layout(lt, p.a, p.batches)),
      b_(Layout(lt, p.b, p.batches)),
      d_(Layout(lt, p.d, p.batches)) {
  cublasLtMatmulDesc_t op = nullptr;
  CheckCublasLt(lt.cublasLtMatmulDescCreate(&op, p.compute, p.scale), "describing a product");
  op_.reset(op);
  const auto transposed = [](bool yes) -> int32_t { return yes ? CUBLAS_OP_T : CUBLAS_OP_N; };
  Set(lt, op, CUBLASLT_MATMUL_DESC_TRANSA, transposed(p.transpose_a));
  Set(lt, op, CUBLASLT_MATMUL_DESC_TRANSB, transposed(p.transpose_b));
  Set(lt, op, CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(p.epilogue));
  if (BiasLength(p) > 0) {
    Set(lt, op, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(p.bias_type));
  }
  if (HasAux(p.epilogue)) {
    Set(lt, op, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.aux_ld);
    if (p.batches > 1) Set(lt, op, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, p.aux_stride);
  }
}

LtMatmul::LtMatmul(CudaStream& stream, const LtProblem& problem)
    : stream_(stream),
      lt_(CublasLt()),
      handle_(stream.Kept<LtHandle>().get()),
      problem_(problem),
      descriptors_(lt_, problem) {}

void LtMatmul::SetPointers(const void* bias, const void* aux) const {
  if (BiasLength(problem_) > 0) {
    Set(lt_, descriptors_.op(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  if (HasAux(problem_.epilogue)) {
    Set(lt_, descriptors_.op(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
  }
}

std::vector<LtAlgorithm> LtMatmul::Algorithms(int64_t workspace_bytes, int count) const {
  Preference preference(lt_);
  preference.Set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace_bytes));
  preference.Set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, kReductionsInOrder);
  const auto align = [&](cublasLtMatmulPreferenceAttributes_t attribute, int bytes) {
    preference.Set(attribute, static_cast<uint32_t>(bytes));
  };
  align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, problem_.a_alignment);
  align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, problem_.b_alignment);
  align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, problem_.d_alignment);
  align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, problem_.d_alignment);
  // The library reads the alignment of the bias, and of an auxiliary matrix, off its address.
  const auto* const somewhere = reinterpret_cast<const void*>(
      uintptr_t{4096} + static_cast<uintptr_t>(problem_.d_alignment) % 16);
  SetPointers(somewhere, somewhere);
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<size_t>(count));
  int returned = 0;
  const cublasStatus_t status = lt_.cublasLtMatmulAlgoGetHeuristic(
      handle_, descriptors_.op(), descriptors_.a(), descriptors_.b(), descriptors_.d(),
      descriptors_.d(), preference.handle, count, found.data(), &returned);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  CheckCublasLt(status, "looking for algorithms");
  std::vector<LtAlgorithm> out;
  for (int i = 0; i < returned; ++i) {
    const auto& f = found[static_cast<size_t>(i)];
    if (f.state != CUBLAS_STATUS_SUCCESS) continue;
    out.push_back({f.algo, static_cast<int64_t>(f.workspaceSize)});
  }
  return out;
}

std::optional<LtAlgorithm> LtMatmul::Restore(const cublasLtMatmulAlgo_t& algo,
                                             int64_t workspace_bytes) const {
  cublasLtMatmulHeuristicResult_t checked = {};
  const cublasStatus_t status =
      lt_.cublasLtMatmulAlgoCheck(handle_, descriptors_.op(), descriptors_.a(), descriptors_.b(),
                                  descriptors_.d(), descriptors_.d(), &algo, &checked);
  const auto bytes = static_cast<int64_t>(checked.workspaceSize);
  if (status != CUBLAS_STATUS_SUCCESS || bytes > workspace_bytes) return std::nullopt;
  return LtAlgorithm{algo, bytes};
}

void LtMatmul::Run(const LtAlgorithm& algorithm, const LtOperands& o) const {
  SetPointers(o.bias, o.aux);
  const bool wide = problem_.scale == CUDA_R_64F;
  const void* const one = wide ? static_cast<const void*>(&kOne64) : &kOne;
  const void* const zero = wide ? static_cast<const void*>(&kZero64) : &kZero;
  CheckCublasLt(
      lt_.cublasLtMatmul(handle_, descriptors_.op(), one, o.a, descriptors_.a(), o.b,
                         descriptors_.b(), problem_.add_c ? one : zero, problem_.add_c ? o.c : o.d,
                         descriptors_.d(), o.d, descriptors_.d(), &algorithm.algo, o.workspace,
                         static_cast<size_t>(algorithm.workspace_bytes),
                         reinterpret_cast<cudaStream_t>(stream_.handle())),
      "a product");
}

std::string ChoiceKey(const CudaDevice& device, const LtProblem& problem) {
  char name[256] = {};
  CheckDriver(Driver().cuDeviceGetName(name, sizeof name, device.handle()), "reading a name");
  return StrCat("cublaslt ", static_cast<int64_t>(CublasLt().cublasLtGetVersion()), " on ", name,
                " ", device.props().multiprocessors, ": ", KeyOf(problem));
}

}  // namespace ostria::cuda
