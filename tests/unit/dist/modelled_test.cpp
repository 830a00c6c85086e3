// SPDX-License-Identifier: Apache-2.0
#include "dist/modelled.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "base/error.h"

namespace ostria {
namespace {

using ::testing::ElementsAre;

struct World {
  explicit World(int size) : c(MakeModelled(size, log)) {}
  std::shared_ptr<CallLog> log = std::make_shared<CallLog>();
  std::unique_ptr<Communicator> c;
};

TEST(Modelled, IsRankZeroOfAsManyAsWereAskedFor) {
  World w(1024);
  EXPECT_EQ(w.c->rank(), 0);
  EXPECT_EQ(w.c->size(), 1024);
  EXPECT_EQ(w.c->transport(), "modelled");
}

TEST(Modelled, ASumIsWhatEqualRanksWouldHave) {
  World w(1000);
  std::vector<float> floats = {0.5F, -2.0F};
  w.c->AllReduce("sum", floats.data(), 2, DType::kFloat32, ReduceOp::kSum);
  EXPECT_THAT(floats, ElementsAre(500.0F, -2000.0F));
  std::vector<int64_t> numbers = {3, -1};
  w.c->AllReduce("sum", numbers.data(), 2, DType::kInt64, ReduceOp::kSum);
  EXPECT_THAT(numbers, ElementsAre(3000, -1000));
  std::vector<int8_t> small = {1};
  w.c->AllReduce("sum", small.data(), 1, DType::kInt8, ReduceOp::kSum);
  EXPECT_EQ(small[0], static_cast<int8_t>(1000 % 256 - 256));  // it wraps as the sum would
  std::vector<BFloat16> half = {BFloat16(0.25F)};
  w.c->AllReduce("sum", half.data(), 1, DType::kBFloat16, ReduceOp::kSum);
  EXPECT_EQ(static_cast<float>(half[0]), 250.0F);
  w.c->AllReduce("largest", floats.data(), 2, DType::kFloat32, ReduceOp::kMax);
  EXPECT_THAT(floats, ElementsAre(500.0F, -2000.0F));
  bool flag = true;
  EXPECT_THROW(w.c->AllReduce("flag", &flag, 1, DType::kBool, ReduceOp::kSum), Error);
}

TEST(Modelled, EveryRanksBlockIsRankZeros) {
  World w(3);
  std::vector<int32_t> blocks = {7, 8, 0, 0, 0, 0};
  w.c->AllGather("rows", blocks.data(), 8);
  EXPECT_THAT(blocks, ElementsAre(7, 8, 7, 8, 7, 8));
  w.c->ReduceScatter("slices", blocks.data(), blocks.data(), 2, DType::kInt32, ReduceOp::kSum);
  EXPECT_EQ(blocks[0], 21);
  EXPECT_EQ(blocks[1], 24);
}

TEST(Modelled, WritesDownWhatIsCalledWithItsBytesAndTimes) {
  World w(4);
  std::vector<float> data(100);
  w.c->Start(2, "all_reduce of 3 tensors", data.data(), 100, DType::kFloat32, ReduceOp::kSum);
  w.c->Wait(2);
  w.c->AllGather("rows", data.data(), 8);
  w.c->ReduceScatter("slices", data.data(), data.data(), 5, DType::kFloat32, ReduceOp::kSum);
  w.c->Broadcast("weights", data.data(), 400, 0);
  w.c->Barrier("end");
  const std::vector<ModelledCall> calls = w.log->Calls();
  ASSERT_EQ(calls.size(), 6U);
  const int64_t bytes[] = {400, 0, 32, 80, 400, 0};
  const ModelledKind kinds[] = {ModelledKind::kStart,     ModelledKind::kWait,
                                ModelledKind::kAllGather, ModelledKind::kReduceScatter,
                                ModelledKind::kBroadcast, ModelledKind::kBarrier};
  int64_t before = 0;
  for (size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i].kind, kinds[i]);
    EXPECT_EQ(calls[i].bytes, bytes[i]);
    EXPECT_LE(before, calls[i].begin);
    EXPECT_LE(calls[i].begin, calls[i].end);
    before = calls[i].end;
  }
  EXPECT_EQ(calls[0].what, "all_reduce of 3 tensors");
  EXPECT_EQ(calls[0].slot, 2);
  EXPECT_EQ(calls[1].slot, 2);
  EXPECT_EQ(w.log->reduced_bytes(), 480);
}

}  // namespace
}  // namespace ostria
