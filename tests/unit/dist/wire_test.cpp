// SPDX-License-Identifier: Apache-2.0
// What wires of all libraries share: who is named where somebody is late.
#include "dist/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace ostria {
namespace {

using ::testing::HasSubstr;

// Moves no bytes.
class StillWire final : public Wire {
 public:
  StillWire(int rank, const std::shared_ptr<KeyValues>& key_values)
      : Wire(rank, 4, key_values, "group/still", {}) {}

  std::unique_ptr<Transfer> Send(int, uint64_t, const void*, int64_t) override { return nullptr; }
  std::unique_ptr<Transfer> Receive(int, uint64_t, void*, int64_t) override { return nullptr; }
  void Wait(Transfer&) override {}
  void Wake() override {}

  std::string SaysWhenLateIs(int rank) {
    try {
      EndLate(rank);
    } catch (const Error& e) {
      return e.what();
    }
  }
  using Wire::ForgetLongWait;
  using Wire::NoteLongWait;
};

class LateRanks : public ::testing::Test {
 protected:
  std::shared_ptr<KeyValues> store = MakeInProcessKeyValues();
  StillWire zero{0, store}, one{1, store}, two{2, store};
};

TEST_F(LateRanks, WhoWaitsForNobodyIsTheCause) {
  EXPECT_THAT(two.SaysWhenLateIs(0), HasSubstr("rank 0 did not come within 120 s"));
}

TEST_F(LateRanks, WhoIsLateBecauseOfAnotherIsNotTheCause) {
  zero.NoteLongWait(1);
  one.NoteLongWait(3);
  EXPECT_THAT(two.SaysWhenLateIs(0), HasSubstr("rank 3 did not come within 120 s"));
  EXPECT_THAT(zero.SaysWhenLateIs(1), HasSubstr("rank 3 did not come")) << "the first reason holds";
}

TEST_F(LateRanks, AWaitThatIsOverExcusesNobody) {
  zero.NoteLongWait(1);
  zero.ForgetLongWait();
  EXPECT_THAT(two.SaysWhenLateIs(0), HasSubstr("rank 0 did not come"));
}

TEST_F(LateRanks, ThoseThatWaitForEachOtherAreNamedAsTheyAreSeen) {
  zero.NoteLongWait(1);
  one.NoteLongWait(0);
  EXPECT_THAT(two.SaysWhenLateIs(0), HasSubstr("rank 0 did not come"));
}

}  // namespace
}  // namespace ostria
