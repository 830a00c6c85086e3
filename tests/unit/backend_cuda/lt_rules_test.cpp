// SPDX-License-Identifier: Apache-2.0
// What cuBLASLt accepts, as a table; and its real library, where it is installed: descriptors need
// no GPU.
#include "backend/cuda/cublaslt/rules.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <optional>

#include "backend/cuda/cublaslt/matmul.h"
#include "backend/cuda/libraries/library.h"

namespace ostria::cuda {
namespace {

// D of 64 x 48 (rows of D: columns of the node's result), inner size 32, in bfloat16.
LtProblem Sound() {
  LtProblem p;
  p.a = {CUDA_R_16BF, 64, 32, 64, 0};
  p.b = {CUDA_R_16BF, 32, 48, 32, 0};
  p.d = {CUDA_R_16BF, 64, 48, 64, 0};
  p.bias_type = CUDA_R_16BF;
  return p;
}

void UseType(LtProblem& p, cudaDataType operands, cudaDataType result) {
  p.a.type = p.b.type = operands;
  p.d.type = p.bias_type = result;
}

struct Rule {
  const char* what;
  std::function<void(LtProblem&)> change;
  const char* reason;  // "": accepted
};

const Rule kRules[] = {
    {"as it is", [](LtProblem&) {}, ""},
    {"float32", [](LtProblem& p) { UseType(p, CUDA_R_32F, CUDA_R_32F); }, ""},
    {"float16 to float32", [](LtProblem& p) { UseType(p, CUDA_R_16F, CUDA_R_32F); }, ""},
    {"tf32",
     [](LtProblem& p) {
       UseType(p, CUDA_R_32F, CUDA_R_32F);
       p.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
     },
     ""},
    {"tf32 of 16 bits", [](LtProblem& p) { p.compute = CUBLAS_COMPUTE_32F_FAST_TF32; },
     "no product of bfloat16 and bfloat16 to bfloat16 with compute type 77 and scales of float32"},
    {"float64 summed in float32", [](LtProblem& p) { UseType(p, CUDA_R_64F, CUDA_R_64F); },
     "no product of float64 and float64 to float64 with compute type 68 and scales of float32"},
    {"operands of two types", [](LtProblem& p) { p.b.type = CUDA_R_16F; },
     "no product of bfloat16 and float16 to bfloat16 with compute type 68 and scales of float32"},
    {"float32 to bfloat16", [](LtProblem& p) { UseType(p, CUDA_R_32F, CUDA_R_16BF); },
     "no product of float32 and float32 to bfloat16 with compute type 68 and scales of float32"},
    {"inner sizes that differ", [](LtProblem& p) { p.b.rows = 33; },
     "B is 33 x 48 where the product needs 32 x 48"},
    {"transposed by shape", [](LtProblem& p) { p.transpose_a = true; },
     "A is 64 x 32 where the product needs 64 x 64"},
    {"lines that overlap", [](LtProblem& p) { p.d.ld = 63; },
     "D has 63 elements from column to column, fewer than its 64 rows"},
    {"nothing to sum", [](LtProblem& p) { p.a.cols = p.b.rows = 0; }, "A is empty"},
    {"too long", [](LtProblem& p) { p.b.ld = int64_t{1} << 31; },
     "B has more than 2147483647 rows, columns or elements per column"},
    {"one matrix for a batch",
     [](LtProblem& p) {
       p.batches = 5;
       p.b.stride = 32 * 48;
       p.d.stride = 64 * 48;
     },
     ""},
    {"results that overlap",
     [](LtProblem& p) {
       p.batches = 5;
       p.d.stride = 64 * 48 - 1;
     },
     "results of a batch overlap: 3071 elements from one to the next"},
    {"no batch", [](LtProblem& p) { p.batches = 0; }, "0 products in a batch"},

    {"bias and relu", [](LtProblem& p) { p.epilogue = CUBLASLT_EPILOGUE_RELU_BIAS; }, ""},
    {"bias of the operands' type under a wide result",
     [](LtProblem& p) {
       p.d.type = CUDA_R_32F;
       p.epilogue = CUBLASLT_EPILOGUE_BIAS;
     },
     "the bias must be float32 where the result is float32, and is bfloat16"},
    {"gelu of float64",
     [](LtProblem& p) {
       UseType(p, CUDA_R_64F, CUDA_R_64F);
       p.compute = CUBLAS_COMPUTE_64F;
       p.scale = CUDA_R_64F;
       p.epilogue = CUBLASLT_EPILOGUE_GELU_BIAS;
     },
     "no GELU of float64"},
    {"an unknown epilogue", [](LtProblem& p) { p.epilogue = static_cast<cublasLtEpilogue_t>(3); },
     "there is no epilogue 3"},
    {"gelu that keeps its input",
     [](LtProblem& p) {
       p.epilogue = CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
       p.aux_ld = 64;
     },
     ""},
    {"its input too narrow",
     [](LtProblem& p) {
       p.epilogue = CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
       p.aux_ld = 56;
     },
     "the auxiliary matrix has 56 elements from column to column; they must be a multiple of 8 "
     "that "
     "is no less than 64"},
    {"relu's mask by bytes",
     [](LtProblem& p) {
       p.epilogue = CUBLASLT_EPILOGUE_DRELU;
       p.aux_ld = 64;
     },
     "the auxiliary matrix has 64 bits from column to column; they must be a multiple of 128 that "
     "is no less than 64"},
    {"relu's mask",
     [](LtProblem& p) {
       p.epilogue = CUBLASLT_EPILOGUE_DRELU_BGRAD;
       p.aux_ld = 128;
     },
     ""},
    {"relu that keeps its mask, of float32",
     [](LtProblem& p) {
       UseType(p, CUDA_R_32F, CUDA_R_32F);
       p.epilogue = CUBLASLT_EPILOGUE_RELU_AUX_BIAS;
       p.aux_ld = 128;
     },
     ""},
    {"a mask beside float64",
     [](LtProblem& p) {
       UseType(p, CUDA_R_64F, CUDA_R_64F);
       p.compute = CUBLAS_COMPUTE_64F;
       p.scale = CUDA_R_64F;
       p.epilogue = CUBLASLT_EPILOGUE_RELU_AUX;
       p.aux_ld = 128;
     },
     "no auxiliary matrix beside float64"},
    {"the gradients of gelu and a bias",
     [](LtProblem& p) {
       p.epilogue = CUBLASLT_EPILOGUE_DGELU_BGRAD;
       p.aux_ld = 64;
     },
     ""},
    {"its gradient in another type",
     [](LtProblem& p) {
       p.epilogue = CUBLASLT_EPILOGUE_DGELU_BGRAD;
       p.aux_ld = 64;
       p.bias_type = CUDA_R_32F;
     },
     "the bias must be bfloat16 where the result is bfloat16, and is float32"},
    {"a gradient behind an outer product",
     [](LtProblem& p) {
       p.a.cols = p.b.rows = 1;
       p.epilogue = CUBLASLT_EPILOGUE_DRELU;
       p.aux_ld = 128;
     },
     "no gradient of an activation behind an outer product"},
    {"a bias from A beside a wide result",
     [](LtProblem& p) {
       UseType(p, CUDA_R_16BF, CUDA_R_32F);
       p.epilogue = CUBLASLT_EPILOGUE_BGRADA;
     },
     ""},
    {"a bias from B", [](LtProblem& p) { p.epilogue = CUBLASLT_EPILOGUE_BGRADB; }, ""},
    {"a bias of one element from B",
     [](LtProblem& p) {
       p.b.cols = p.d.cols = 1;
       p.epilogue = CUBLASLT_EPILOGUE_BGRADB;
     },
     "no gradient of a bias of one element from an operand"},
    {"masks of a batch",
     [](LtProblem& p) {
       p.epilogue = CUBLASLT_EPILOGUE_RELU_AUX;
       p.aux_ld = 128;
       p.batches = 2;
       p.d.stride = 64 * 48;
       p.aux_stride = 64;
     },
     "auxiliary matrices of a batch must begin at multiples of 128, not 64"},
    {"bias gradients of a batch",
     [](LtProblem& p) {
       p.epilogue = CUBLASLT_EPILOGUE_BGRADB;
       p.batches = 2;
       p.d.stride = 64 * 48;
     },
     "gradients of a bias are for one product, not a batch of 2"},
};

TEST(LtRules, SayWhatIsAcceptedAndWhyNot) {
  for (const Rule& rule : kRules) {
    LtProblem p = Sound();
    rule.change(p);
    EXPECT_EQ(Legal(p).reason, rule.reason) << rule.what;
    EXPECT_EQ(Legal(p).ok, *rule.reason == '\0') << rule.what;
  }
}

TEST(LtRules, BiasHasTheLengthOfItsSide) {
  LtProblem p = Sound();
  EXPECT_EQ(BiasLength(p), 0);
  for (const auto& [epilogue, length] :
       {std::pair{CUBLASLT_EPILOGUE_BIAS, 64}, std::pair{CUBLASLT_EPILOGUE_GELU_AUX_BIAS, 64},
        std::pair{CUBLASLT_EPILOGUE_DGELU_BGRAD, 64}, std::pair{CUBLASLT_EPILOGUE_DGELU, 0},
        std::pair{CUBLASLT_EPILOGUE_BGRADA, 64}, std::pair{CUBLASLT_EPILOGUE_BGRADB, 48}}) {
    p.epilogue = epilogue;
    EXPECT_EQ(BiasLength(p), length) << epilogue;
  }
  EXPECT_EQ(AuxLd(CUBLASLT_EPILOGUE_RELU_AUX, 129), 256);
  EXPECT_EQ(AuxLd(CUBLASLT_EPILOGUE_DGELU, 129), 136);
}

TEST(LtRules, MisalignmentNamesTheNodesOperands) {
  LtProblem p = Sound();
  EXPECT_EQ(Misalignment(p), "");
  p.a.ld = 65;
  EXPECT_EQ(Misalignment(p), "ld of b 65");
  p.b = {CUDA_R_16BF, 32, 48, 36, 4};
  p.batches = 2;
  EXPECT_EQ(Misalignment(p), "ld of a 36, batch stride of a 4, ld of b 65");
  p = Sound();
  p.b.cols = 1;  // a single line lies anywhere
  p.b.ld = 33;
  EXPECT_EQ(Misalignment(p), "");
}

TEST(LtRules, KeyTellsProblemsApart) {
  const std::string sound = KeyOf(Sound());
  EXPECT_EQ(sound,
            "compute 68 a bfloat16n64x32/64+0@16 b bfloat16n32x48/32+0@16 d "
            "bfloat16n64x48/64+0@16 batches 1 beta 0 epilogue none");
  for (const std::function<void(LtProblem&)>& change :
       std::initializer_list<std::function<void(LtProblem&)>>{
           [](LtProblem& p) { p.compute = CUBLAS_COMPUTE_32F_FAST_TF32; },
           [](LtProblem& p) { p.transpose_b = true; }, [](LtProblem& p) { p.d.ld = 72; },
           [](LtProblem& p) { p.a.stride = 8; }, [](LtProblem& p) { p.a_alignment = 2; },
           [](LtProblem& p) { p.batches = 2; }, [](LtProblem& p) { p.add_c = true; },
           [](LtProblem& p) { p.epilogue = CUBLASLT_EPILOGUE_RELU; }}) {
    LtProblem p = Sound();
    change(p);
    EXPECT_NE(KeyOf(p), sound);
  }
}

// The installed library, whatever OSTRIA_CUDA_LIBRARIES names; its descriptors need no device.
const CublasLtTable* Installed() {
  static const CublasLtTable* const found = []() -> const CublasLtTable* {
    const std::string given = Environment("OSTRIA_CUDA_LIBRARIES");
    ::unsetenv("OSTRIA_CUDA_LIBRARIES");
    auto* made = new CublasLtTable;
    CublasLtTable& table = *made;
    try {
      const Library library({"cuBLASLt", "libcublasLt.so.13", "nvidia-cublas"});
      OSTRIA_CUBLASLT_FUNCTIONS(OSTRIA_TABLE_LOAD)
    } catch (const Error&) {
      made = nullptr;
    }
    if (!given.empty()) ::setenv("OSTRIA_CUDA_LIBRARIES", given.c_str(), 1);
    return made;
  }();
  return found;
}

TEST(LtDescriptors, AreTakenByTheInstalledLibrary) {
  const CublasLtTable* lt = Installed();
  if (lt == nullptr) GTEST_SKIP() << "cuBLASLt 13 is not installed";
  EXPECT_EQ(lt->cublasLtGetVersion() / 10000, 13u);
  for (const Rule& rule : kRules) {
    LtProblem p = Sound();
    rule.change(p);
    if (!Legal(p).ok) continue;
    EXPECT_NO_THROW(LtDescriptors(*lt, p)) << rule.what;
  }
}

}  // namespace
}  // namespace ostria::cuda
