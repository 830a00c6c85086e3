// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cublaslt/rules.h"

#include <algorithm>
#include <climits>
#include <utility>

namespace ostria::cuda {
namespace {

constexpr int kAuxBit = 128, kBiasGradientBit = 16;

// Multiples that the leading dimension of an auxiliary matrix needs.
constexpr int64_t kMaskMultiple = 128;  // bits
constexpr int64_t kGeluMultiple = 8;

// Types that go together. Epilogues exist for all of them, GELU for all but float64.
struct Row {
  cublasComputeType_t compute;
  cudaDataType scale, operands, result, bias;
};
constexpr Row kTypes[] = {
    {CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F},
    {CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F},
    {CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16BF},
    {CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_16F, CUDA_R_16F, CUDA_R_16F},
    {CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_16BF, CUDA_R_32F, CUDA_R_32F},
    {CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_16F, CUDA_R_32F, CUDA_R_32F},
    {CUBLAS_COMPUTE_64F, CUDA_R_64F, CUDA_R_64F, CUDA_R_64F, CUDA_R_64F},
};

const Row* TypesOf(const LtProblem& p) {
  if (p.a.type != p.b.type) return nullptr;
  for (const Row& row : kTypes) {
    if (row.compute == p.compute && row.scale == p.scale && row.operands == p.a.type &&
        row.result == p.d.type) {
      return &row;
    }
  }
  return nullptr;
}

bool IsKnown(cublasLtEpilogue_t e) {
  switch (e) {
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_RELU:
    case CUBLASLT_EPILOGUE_RELU_AUX:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_RELU_BIAS:
    case CUBLASLT_EPILOGUE_RELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DRELU:
    case CUBLASLT_EPILOGUE_DRELU_BGRAD:
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_DGELU_BGRAD:
    case CUBLASLT_EPILOGUE_BGRADA:
    case CUBLASLT_EPILOGUE_BGRADB: return true;
  }
  return false;
}

Support LegalMatrix(const char* name, const LtMatrix& m, int64_t rows, int64_t cols,
                    int64_t batches) {
  if (m.rows != rows || m.cols != cols) {
    return Support::No(name, " is ", m.rows, " x ", m.cols, " where the product needs ", rows,
                       " x ", cols);
  }
  if (rows < 1 || cols < 1) return Support::No(name, " is empty");
  if (std::max({rows, cols, m.ld}) > INT_MAX) {
    return Support::No(name, " has more than ", INT_MAX, " rows, columns or elements per column");
  }
  if (m.ld < rows) {
    return Support::No(name, " has ", m.ld, " elements from column to column, fewer than its ",
                       rows, " rows");
  }
  if (batches > 1 && m.stride < 0) return Support::No(name, " has a negative batch stride");
  return Support::Yes();
}

}  // namespace

bool AddsBias(cublasLtEpilogue_t e) { return (e & CUBLASLT_EPILOGUE_BIAS) != 0; }
bool IsSumOfOperand(cublasLtEpilogue_t e) {
  return e == CUBLASLT_EPILOGUE_BGRADA || e == CUBLASLT_EPILOGUE_BGRADB;
}
bool WritesBiasGradient(cublasLtEpilogue_t e) {
  return IsSumOfOperand(e) || (e & kBiasGradientBit) != 0;
}
bool IsGradient(cublasLtEpilogue_t e) {
  return (e & ((CUBLASLT_EPILOGUE_DRELU | CUBLASLT_EPILOGUE_DGELU) & ~kAuxBit)) != 0;
}
bool HasGelu(cublasLtEpilogue_t e) {
  return (e & (CUBLASLT_EPILOGUE_GELU | (CUBLASLT_EPILOGUE_DGELU & ~kAuxBit))) != 0;
}
bool HasAux(cublasLtEpilogue_t e) { return (e & kAuxBit) != 0; }

int64_t BiasLength(const LtProblem& p) {
  if (p.epilogue == CUBLASLT_EPILOGUE_BGRADB) return p.cols();
  return AddsBias(p.epilogue) || WritesBiasGradient(p.epilogue) ? p.rows() : 0;
}

int64_t AuxLd(cublasLtEpilogue_t epilogue, int64_t rows) {
  const int64_t multiple = HasGelu(epilogue) ? kGeluMultiple : kMaskMultiple;
  return (rows + multiple - 1) / multiple * multiple;
}

Support LegalProduct(const LtProblem& p) {
  if (TypesOf(p) == nullptr) {
    return Support::No("no product of ", NameOf(p.a.type), " and ", NameOf(p.b.type), " to ",
                       NameOf(p.d.type), " with compute type ", static_cast<int>(p.compute),
                       " and scales of ", NameOf(p.scale));
  }
  if (p.batches < 1 || p.batches > INT_MAX) return Support::No(p.batches, " products in a batch");
  const int64_t m = p.rows(), n = p.cols(), k = p.inner();
  Support s = LegalMatrix("A", p.a, p.transpose_a ? k : m, p.transpose_a ? m : k, p.batches);
  if (s.ok) s = LegalMatrix("B", p.b, p.transpose_b ? n : k, p.transpose_b ? k : n, p.batches);
  if (s.ok) s = LegalMatrix("D", p.d, m, n, p.batches);
  if (s.ok && p.batches > 1 && p.d.stride < p.d.ld * (n - 1) + m) {
    return Support::No("results of a batch overlap: ", p.d.stride,
                       " elements from one to the next");
  }
  return s;
}

Support LegalEpilogue(const LtProblem& p) {
  const cublasLtEpilogue_t e = p.epilogue;
  if (!IsKnown(e)) return Support::No("there is no epilogue ", static_cast<int>(e));
  if (e == CUBLASLT_EPILOGUE_DEFAULT) return Support::Yes();
  const Row* types = TypesOf(p);
  if (types == nullptr) return Support::No("no epilogue for these types");
  if (HasGelu(e) && p.d.type == CUDA_R_64F) return Support::No("no GELU of float64");
  if (BiasLength(p) > 0 && p.bias_type != types->bias) {
    return Support::No("the bias must be ", NameOf(types->bias), " where the result is ",
                       NameOf(p.d.type), ", and is ", NameOf(p.bias_type));
  }
  if (WritesBiasGradient(e) && p.batches > 1) {
    return Support::No("gradients of a bias are for one product, not a batch of ", p.batches);
  }
  // NVIDIA's own tests of the next two (nvmath-python, test_epilog.py) expect refusals.
  if (IsSumOfOperand(e) && BiasLength(p) == 1) {
    return Support::No("no gradient of a bias of one element from an operand");
  }
  if (IsGradient(e) && p.inner() == 1) {
    return Support::No("no gradient of an activation behind an outer product");
  }
  if (!HasAux(e)) return Support::Yes();
  if (p.d.type == CUDA_R_64F) return Support::No("no auxiliary matrix beside float64");
  const int64_t multiple = HasGelu(e) ? kGeluMultiple : kMaskMultiple;
  if (p.aux_ld < p.rows() || p.aux_ld % multiple != 0) {
    return Support::No("the auxiliary matrix has ", p.aux_ld, " ", HasGelu(e) ? "elements" : "bits",
                       " from column to column; they must be a multiple of ", multiple,
                       " that is no less than ", p.rows());
  }
  if (p.batches > 1 && p.aux_stride % multiple != 0) {
    return Support::No("auxiliary matrices of a batch must begin at multiples of ", multiple,
                       ", not ", p.aux_stride);
  }
  return Support::Yes();
}

Support Legal(const LtProblem& p) {
  Support s = LegalProduct(p);
  return s.ok ? LegalEpilogue(p) : s;
}

std::string Misalignment(const LtProblem& p) {
  std::string out;
  const auto check = [&](const char* name, const LtMatrix& m) {
    const int64_t vector = 16 / BytesOf(m.type);
    const auto say = [&](const char* what, int64_t elements) {
      out += StrCat(out.empty() ? "" : ", ", what, name, " ", elements);
    };
    if (m.cols > 1 && m.ld % vector != 0) say("ld of ", m.ld);
    if (p.batches > 1 && m.stride % vector != 0) say("batch stride of ", m.stride);
  };
  // Named as in the node, whose operands are the other way round (matmul_desc.h).
  check("a", p.b);
  check("b", p.a);
  check("y", p.d);
  return out;
}

std::string KeyOf(const LtProblem& p) {
  const auto matrix = [](const LtMatrix& m, bool transposed, int alignment) {
    return StrCat(NameOf(m.type), transposed ? "t" : "n", m.rows, "x", m.cols, "/", m.ld, "+",
                  m.stride, "@", alignment);
  };
  std::string key = StrCat(
      "compute ", static_cast<int>(p.compute), " a ", matrix(p.a, p.transpose_a, p.a_alignment),
      " b ", matrix(p.b, p.transpose_b, p.b_alignment), " d ", matrix(p.d, false, p.d_alignment),
      " batches ", p.batches, " beta ", p.add_c ? 1 : 0, " epilogue ", NameOf(p.epilogue));
  if (BiasLength(p) > 0) key += StrCat(" bias ", NameOf(p.bias_type));
  if (HasAux(p.epilogue)) key += StrCat(" aux ", p.aux_ld, "+", p.aux_stride);
  return key;
}

int64_t BytesOf(cudaDataType type) {
  switch (type) {
    case CUDA_R_16F:
    case CUDA_R_16BF: return 2;
    case CUDA_R_64F: return 8;
    default: return 4;
  }
}

std::string NameOf(cublasLtEpilogue_t epilogue) {
  constexpr std::pair<int, const char*> kParts[] = {
      {2, "relu"},  {32, "gelu"},  {8, "drelu"},    {64, "dgelu"},  {4, "bias"},
      {128, "aux"}, {16, "bgrad"}, {256, "bgrada"}, {512, "bgradb"}};
  std::string out;
  for (const auto& [bit, name] : kParts) {
    if ((epilogue & bit) != 0) out += StrCat(out.empty() ? "" : "_", name);
  }
  return out.empty() ? "none" : out;
}

const char* NameOf(cudaDataType type) {
  switch (type) {
    case CUDA_R_16F: return "float16";
    case CUDA_R_16BF: return "bfloat16";
    case CUDA_R_32F: return "float32";
    case CUDA_R_64F: return "float64";
    default: return "another type";
  }
}

}  // namespace ostria::cuda
