// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cublaslt/product.h"

#include <algorithm>
#include <numeric>

namespace ostria::cuda {
namespace {

// So many products one after the other cost less than what else there is: loops over elements.
constexpr int64_t kMostRuns = 1024;

// What NVIDIA recommends for sm_90; small products get what splitting their sums can use.
constexpr int64_t kMostWorkspace = int64_t{32} << 20, kLeastWorkspace = int64_t{1} << 20;
constexpr int64_t kSplits = 32;

// A matrix of `rows` x `cols` row-major strides, as the column-major cols x rows: transposed where
// it is the columns that lie dense.
Support Describe(const char* name, int64_t rows, int64_t cols, int64_t row_stride,
                 int64_t col_stride, LtMatrix* m, bool* transposed) {
  *transposed = col_stride != 1;
  if (col_stride != 1 && row_stride != 1) {
    return Support::No("needs rows or columns of ", name, " that lie dense, not strides of ",
                       row_stride, " and ", col_stride);
  }
  m->rows = *transposed ? rows : cols;
  m->cols = *transposed ? cols : rows;
  m->ld = *transposed ? col_stride : row_stride;
  return Support::Yes();
}

int AlignmentAfter(int64_t elements, cudaDataType type) {
  return static_cast<int>(std::gcd<int64_t>(16, elements * BytesOf(type)));
}

// `problem` with that epilogue and where its auxiliary matrix lies: [.., m, n] as the result does,
// or a mask's rows, which count bits.
void SetEpilogue(const LtProduct& product, cublasLtEpilogue_t epilogue, LtProblem* problem) {
  *problem = product.problem;
  problem->epilogue = epilogue;
  problem->bias_type = product.has_bias ? LtType(product.bias) : problem->d.type;
  if (!HasAux(epilogue)) return;
  if (HasGelu(epilogue)) {
    problem->aux_ld = problem->d.ld;
    problem->aux_stride = problem->d.stride;
  } else {
    problem->aux_ld = 8 * ops::MaskBytes(problem->rows());
    problem->aux_stride = problem->aux_ld * problem->cols();
  }
}

}  // namespace

cudaDataType LtType(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return CUDA_R_16F;
    case DType::kBFloat16: return CUDA_R_16BF;
    case DType::kFloat64: return CUDA_R_64F;
    default: return CUDA_R_32F;
  }
}

Support DescribeLtProduct(const NodeDesc& node, LtProduct* product) {
  const DType dtype = node.inputs[0].dtype;
  if (!IsFloat(dtype)) return Support::No("is for floating-point numbers, not ", dtype);
  const MatmulDesc d = DescribeMatmul(node);
  if (d.k == 0) return Support::No("the inner size is 0");
  if (d.y_n != 1) return Support::No("needs a result whose rows lie dense");

  *product = {};
  LtProblem& p = product->problem;
  p.a.type = p.b.type = LtType(dtype);
  p.d.type = LtType(d.result);
  if (dtype == DType::kFloat64) {
    p.compute = CUBLAS_COMPUTE_64F;
    p.scale = CUDA_R_64F;
  } else if (dtype == DType::kFloat32 && node.device->tf32) {
    p.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  }
  Support s = Describe("b", d.k, d.n, d.b_k, d.b_n, &p.a, &p.transpose_a);
  if (s.ok) s = Describe("a", d.m, d.k, d.a_m, d.a_k, &p.b, &p.transpose_b);
  if (!s.ok) return s;
  p.d.rows = d.n;
  p.d.cols = d.m;
  p.d.ld = d.y_m;

  // The longest batch axis is the library's, the others are a loop.
  int longest = 0;
  for (int i = 1; i < d.batch_rank; ++i) longest = d.batch[i] > d.batch[longest] ? i : longest;
  for (int i = 0; i < d.batch_rank; ++i) {
    if (i == longest) {
      p.batches = d.batch[i];
      p.a.stride = d.b_batch[i];
      p.b.stride = d.a_batch[i];
      p.d.stride = d.y_batch[i];
      continue;
    }
    product->loop[product->loop_rank++] = {d.batch[i], d.a_batch[i], d.b_batch[i], d.y_batch[i]};
    p.a_alignment = std::gcd(p.a_alignment, AlignmentAfter(d.b_batch[i], p.a.type));
    p.b_alignment = std::gcd(p.b_alignment, AlignmentAfter(d.a_batch[i], p.b.type));
    p.d_alignment = std::gcd(p.d_alignment, AlignmentAfter(d.y_batch[i], p.d.type));
  }
  if (product->runs() > kMostRuns) {
    return Support::No("its batch axes come down to ", product->runs(),
                       " products one after the other, more than ", kMostRuns);
  }
  product->has_bias = d.has_bias;
  if (d.has_bias) product->bias = node.inputs[2].dtype;
  product->epilogue = d.epilogue;
  return LegalProduct(p);
}

std::optional<cublasLtEpilogue_t> LtEpilogueOf(ops::Epilogue epilogue, bool has_bias) {
  using E = ops::Epilogue;
  const auto biased = [&](cublasLtEpilogue_t with, cublasLtEpilogue_t without) {
    return has_bias ? with : without;
  };
  switch (epilogue) {
    case E::kNone: return biased(CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_DEFAULT);
    case E::kRelu: return biased(CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_RELU);
    case E::kGeluTanh: return biased(CUBLASLT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU);
    case E::kReluMask: return biased(CUBLASLT_EPILOGUE_RELU_AUX_BIAS, CUBLASLT_EPILOGUE_RELU_AUX);
    case E::kGeluTanhKept:
      return biased(CUBLASLT_EPILOGUE_GELU_AUX_BIAS, CUBLASLT_EPILOGUE_GELU_AUX);
    case E::kReluGrad: return CUBLASLT_EPILOGUE_DRELU;
    case E::kGeluTanhGrad: return CUBLASLT_EPILOGUE_DGELU;
    case E::kReluGradSum: return CUBLASLT_EPILOGUE_DRELU_BGRAD;
    case E::kGeluTanhGradSum: return CUBLASLT_EPILOGUE_DGELU_BGRAD;
    case E::kSumA: return CUBLASLT_EPILOGUE_BGRADB;
    case E::kSumB: return CUBLASLT_EPILOGUE_BGRADA;
    case E::kTanh:
    case E::kSigmoid:
    case E::kGelu:
    case E::kSilu: break;
  }
  return std::nullopt;
}

Support WithEpilogue(const LtProduct& product, LtProblem* problem) {
  const auto epilogue = LtEpilogueOf(product.epilogue, product.has_bias);
  if (!epilogue) {
    return Support::No("cuBLASLt has no ", ops::DefOf(product.epilogue).name, " in an epilogue");
  }
  if (product.runs() > 1 && (HasAux(*epilogue) || WritesBiasGradient(*epilogue))) {
    return Support::No("several products have no common auxiliary matrix or sum");
  }
  SetEpilogue(product, *epilogue, problem);
  return LegalEpilogue(*problem);
}

Support BeforeTail(const LtProduct& product, LtProblem* problem) {
  using E = ops::Epilogue;
  *problem = product.problem;
  if (product.epilogue != E::kReluMask && product.epilogue != E::kGeluTanhKept) {
    return Support::Yes();
  }
  const E part = product.epilogue == E::kReluMask ? E::kRelu : E::kNone;
  SetEpilogue(product, *LtEpilogueOf(part, product.has_bias), problem);
  return LegalEpilogue(*problem);
}

LtProblem Unaligned(LtProblem problem) {
  problem.a_alignment = static_cast<int>(BytesOf(problem.a.type));
  problem.b_alignment = static_cast<int>(BytesOf(problem.b.type));
  problem.d_alignment = static_cast<int>(BytesOf(problem.d.type));
  return problem;
}

int64_t WorkspaceOf(const LtProduct& product) {
  const LtProblem& p = product.problem;
  const double result = static_cast<double>(p.rows()) * static_cast<double>(p.cols()) *
                        static_cast<double>(p.batches * BytesOf(p.scale));
  const double wanted = kLeastWorkspace + kSplits * result;
  return wanted < kMostWorkspace ? static_cast<int64_t>(wanted) : kMostWorkspace;
}

std::string DetailOf(const LtProduct& product) {
  const LtProblem& p = product.problem;
  std::string out = StrCat(p.transpose_b ? "t" : "n", p.transpose_a ? "t" : "n", " ", p.cols(), "x",
                           p.rows(), "x", p.inner());
  if (p.batches > 1) out += StrCat(" batch ", p.batches);
  if (product.runs() > 1) out += StrCat(", ", product.runs(), " runs");
  if (p.compute == CUBLAS_COMPUTE_32F_FAST_TF32) out += ", tf32";
  if (const std::string why = Misalignment(p); !why.empty())
    out += StrCat(", misaligned (", why, ")");
  return out;
}

}  // namespace ostria::cuda
