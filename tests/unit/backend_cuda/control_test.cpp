// SPDX-License-Identifier: Apache-2.0
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

Tensor Indices(int64_t first, int64_t second) {
  Tensor t = Tensor::Empty(DType::kInt64, {2});
  t.data<int64_t>()[0] = first;
  t.data<int64_t>()[1] = second;
  return t;
}

std::vector<bool> Accepted(bool decision, bool in_place) {
  const auto out = EvaluateOnCuda(ops::kDataAccepted, {}, {Tensor::Scalar(DType::kBool, decision)},
                                  {.in_place = in_place});
  return {*out[0].OnHost().data<bool>(), *out[1].OnHost().data<bool>()};
}

using Flags = std::vector<bool>;

TEST(CudaControl, DataAreAcceptedUntilAKernelRefusesThemAndAgainOnceTheHostKnows) {
  const Tensor table = RandomTensor(DType::kFloat32, {7, 3}, -1, 1, 1);
  const std::vector<Attr> axis = {int64_t{0}};
  for (const bool in_place : {false, true}) {
    EvaluateOnCuda(ops::kGather, axis, {table, Indices(0, -7)});
    EXPECT_EQ(Accepted(true, in_place), (Flags{true, true}));
    EXPECT_EQ(Accepted(false, in_place), (Flags{true, false}));
    EvaluateOnCuda(ops::kGather, axis, {table, Indices(0, 7)});
    for (int i = 0; i < 2; ++i) {  // it stays
      EXPECT_EQ(Accepted(true, in_place), (Flags{false, false}));
      EXPECT_EQ(Accepted(false, in_place), (Flags{false, false}));
    }
    EXPECT_EQ(TakeDataError().value, 7);
    EXPECT_EQ(Accepted(true, in_place), (Flags{true, true}));
  }
}

}  // namespace
}  // namespace ostria
