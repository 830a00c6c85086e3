// SPDX-License-Identifier: Apache-2.0
// Channels of zeros beside the CPU's: rows that are vectors, and rows that are none.
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

struct Case {
  DType from, to;
};
const Case kCases[] = {{DType::kFloat32, DType::kFloat16},
                       {DType::kFloat32, DType::kBFloat16},
                       {DType::kFloat16, DType::kFloat16},
                       {DType::kBFloat16, DType::kBFloat16},
                       {DType::kFloat32, DType::kFloat32}};

TEST(CudaPadChannels, IsTheCpus) {
  for (const auto& [from, to] : kCases) {
    for (const auto& [shape, channels] : {std::pair<Shape, int64_t>{{2, 5, 7, 3}, 8},
                                          {{71, 29}, 32},
                                          {{9, 1}, 5},
                                          {{3, 12}, 16},
                                          {{1, 1}, 8},
                                          {{40, 7}, 7},
                                          {{600, 3}, 8},
                                          {{1, 71 * 29}, 72 * 29},
                                          {{3, 2056}, 2064},
                                          {{3, 1029}, 1032}}) {
      SCOPED_TRACE(StrCat(from, " ", shape, " to ", to, " ", channels));
      const Tensor x = RandomTensor(from, shape, -2, 2, 1);
      const std::vector<Attr> attrs = {channels, to};
      const auto got = EvaluateOnCuda(ops::kPadChannels, attrs, {x}, "rows");
      const auto want = EvaluateOnCpu(ops::kPadChannels, attrs, {x});
      ExpectClose(got[0], want[0], 0);
      if (shape == Shape{71, 29}) ExpectPlacesDoNotMatter(ops::kPadChannels, attrs, {x}, 0);
    }
  }
}

}  // namespace
}  // namespace ostria
