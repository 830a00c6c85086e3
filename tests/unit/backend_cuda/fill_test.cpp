// SPDX-License-Identifier: Apache-2.0
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

TEST(CudaFill, FullIsTheCpus) {
  for (const DType dtype : {DType::kBool, DType::kInt64, DType::kFloat16, DType::kBFloat16,
                            DType::kFloat32, DType::kFloat64}) {
    const std::vector<Attr> attrs = {Shape{71, 229}, dtype, 3.0};
    ExpectClose(EvaluateOnCuda(ops::kFull, attrs, {})[0], EvaluateOnCpu(ops::kFull, attrs, {})[0],
                0);
  }
}

}  // namespace
}  // namespace ostria
