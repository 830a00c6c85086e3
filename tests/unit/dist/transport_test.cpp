// SPDX-License-Identifier: Apache-2.0
// What every transport does: the same calls, bits and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <thread>

#include "base/error.h"
#include "dist/transports.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

class EveryTransport : public ::testing::TestWithParam<Transport> {
 protected:
  void SetUp() override {
    if (const std::string why = GetParam().why_not(); !why.empty()) GTEST_SKIP() << why;
  }
  static constexpr int kSizes[] = {1, 2, 3, 4, 8};
  static std::vector<std::vector<float>> Random(int ranks, int64_t count) {
    std::mt19937 engine(7);
    std::normal_distribution<float> normal;
    std::vector<std::vector<float>> data(static_cast<size_t>(ranks));
    for (auto& d : data) {
      for (int64_t i = 0; i < count; ++i) d.push_back(normal(engine));
    }
    return data;
  }
};

INSTANTIATE_TEST_SUITE_P(All, EveryTransport, ::testing::ValuesIn(Transports()),
                         [](const auto& info) { return info.param.name; });

TEST_P(EveryTransport, AddsAndGivesAllRanksTheSameBits) {
  for (const int size : kSizes) {
    const auto ranks = GetParam().make(size);
    for (const int64_t count : {0, 1, 5, 2048, 100'003}) {
      for (const ReduceOrder order : {ReduceOrder::kAny, ReduceOrder::kTree}) {
        auto data = Random(size, count);
        const auto given = data;
        const auto errors = RunRanks(ranks, [&](Communicator& c) {
          c.AllReduce("test", data[c.rank()].data(), count, DType::kFloat32, ReduceOp::kSum, order);
        });
        ASSERT_THAT(errors, Each(""));
        for (int64_t i = 0; i < count; ++i) {
          double sum = 0;
          for (const auto& g : given) sum += g[i];
          ASSERT_NEAR(data[0][i], sum, 1e-5) << size << " ranks, element " << i;
        }
        for (const auto& d : data) ASSERT_EQ(d, data[0]) << size << " ranks";
      }
    }
  }
}

TEST_P(EveryTransport, AddsInTheOrderOfATree) {
  const float big = 1e8F;  // (big + 1) + (-big + 1) is 0, another order gives 1 or 2
  std::vector<float> data = {big, 1, -big, 1};
  const auto errors = RunRanks(GetParam().make(4), [&](Communicator& c) {
    c.AllReduce("test", &data[c.rank()], 1, DType::kFloat32, ReduceOp::kSum, ReduceOrder::kTree);
  });
  EXPECT_THAT(errors, Each(""));
  EXPECT_THAT(data, Each(0.0F));
}

TEST_P(EveryTransport, TakesTheLeastAndTheLargestAndNaNWins) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<std::vector<float>> low = {{1, 5, nan}, {2, 3, 0}, {0, 9, 0}}, high = low;
  const auto errors = RunRanks(GetParam().make(3), [&](Communicator& c) {
    c.AllReduce("test", low[c.rank()].data(), 3, DType::kFloat32, ReduceOp::kMin);
    c.AllReduce("test", high[c.rank()].data(), 3, DType::kFloat32, ReduceOp::kMax);
  });
  EXPECT_THAT(errors, Each(""));
  for (int r = 0; r < 3; ++r) {
    EXPECT_EQ(low[r][0], 0);
    EXPECT_EQ(low[r][1], 3);
    EXPECT_EQ(high[r][0], 2);
    EXPECT_EQ(high[r][1], 9);
    EXPECT_TRUE(std::isnan(low[r][2]) && std::isnan(high[r][2])) << r;
  }
}

TEST_P(EveryTransport, RoundsHalfTypesOnce) {
  // 257.5, which is rounded to 258; added one by one in bfloat16 it stays 256.
  std::vector<BFloat16> data = {BFloat16(256.0F), BFloat16(0.75F), BFloat16(0.25F), BFloat16(0.5F)};
  const auto errors = RunRanks(GetParam().make(4), [&](Communicator& c) {
    c.AllReduce("test", &data[c.rank()], 1, DType::kBFloat16, ReduceOp::kSum);
  });
  EXPECT_THAT(errors, Each(""));
  for (const BFloat16& d : data) EXPECT_EQ(static_cast<float>(d), 258.0F);
}

// So a step has the same bits whatever carries it.
TEST_P(EveryTransport, AgreesWithThreadsOfOneProcessBitForBit) {
  for (const int size : {2, 3, 8}) {
    const int64_t count = 70'001;
    auto data = Random(size, count), expected = data;
    const auto reduce = [&](auto& all) {
      return [&](Communicator& c) {
        c.AllReduce("test", all[c.rank()].data(), count, DType::kFloat32, ReduceOp::kSum,
                    ReduceOrder::kTree);
      };
    };
    ASSERT_THAT(RunRanks(Transports()[0].make(size), reduce(expected)), Each(""));
    ASSERT_THAT(RunRanks(GetParam().make(size), reduce(data)), Each(""));
    ASSERT_EQ(data, expected) << size << " ranks";
  }
}

TEST_P(EveryTransport, ScattersAndGathersBlocks) {
  const int64_t count = 1001;
  for (const int size : kSizes) {
    auto data = Random(size, size * count);
    const auto given = data;
    const auto errors = RunRanks(GetParam().make(size), [&](Communicator& c) {
      float* const mine = data[c.rank()].data();
      float* const block = mine + c.rank() * count;
      std::vector<float> apart(count);
      c.ReduceScatter("test", mine, apart.data(), count, DType::kFloat32, ReduceOp::kSum);
      for (int64_t i = 0; i < size * count; ++i) {
        if (mine[i] != given[c.rank()][i]) throw Error(ErrorCode::kInternal, "", "written to");
      }
      c.ReduceScatter("test", mine, block, count, DType::kFloat32, ReduceOp::kSum);
      if (!std::equal(apart.begin(), apart.end(), block)) {
        throw Error(ErrorCode::kInternal, "", "another sum");
      }
      c.AllGather("test", mine, count * 4);
    });
    ASSERT_THAT(errors, Each(""));
    for (int64_t i = 0; i < size * count; ++i) {
      double sum = 0;
      for (const auto& g : given) sum += g[i];
      ASSERT_NEAR(data[0][i], sum, 1e-5);
    }
    for (const auto& d : data) ASSERT_EQ(d, data[0]);
  }
}

TEST_P(EveryTransport, BroadcastsFromAnyRank) {
  for (int root = 0; root < 3; ++root) {
    auto data = Random(3, 1000);
    const auto given = data;
    const auto errors = RunRanks(GetParam().make(3), [&](Communicator& c) {
      c.Broadcast("test", data[c.rank()].data(), 4000, root);
      c.Barrier("test");
    });
    EXPECT_THAT(errors, Each(""));
    for (const auto& d : data) EXPECT_EQ(d, given[root]);
  }
}

TEST_P(EveryTransport, ManyCallsInARowStayInStep) {
  std::vector<int64_t> data(4, 1);
  const auto errors = RunRanks(GetParam().make(4), [&](Communicator& c) {
    for (int i = 0; i < 100; ++i) {
      int64_t& mine = data[c.rank()];
      c.AllReduce("count", &mine, 1, DType::kInt64, ReduceOp::kSum);
      c.Barrier("step");
      mine = mine / 4 + 1;
    }
  });
  EXPECT_THAT(errors, Each(""));
  EXPECT_THAT(data, Each(101));
}

TEST_P(EveryTransport, WhoLeavesAfterItsLastCallFailsNobody) {
  for (int group = 0; group < 20; ++group) {
    auto ranks = GetParam().make(2);
    std::vector<std::string> errors(2);
    std::vector<std::thread> threads;
    for (size_t r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        try {
          std::vector<float> data(20'000);
          ranks[r]->AllReduce("last", data.data(), 20'000, DType::kFloat32, ReduceOp::kSum);
          if (group % 2 == 0 && r == 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
          ranks[r].reset();
        } catch (const std::exception& e) {
          errors[r] = e.what();
        }
      });
    }
    for (std::thread& t : threads) t.join();
    ASSERT_THAT(errors, Each("")) << "group " << group;
  }
}

TEST_P(EveryTransport, ARankThatDoesNotComeIsNamed) {
  const auto errors = RunRanks(GetParam().make(3), [&](Communicator& c) {
    c.set_timeout(milliseconds(3000));
    float x = 1;
    if (c.rank() != 1) c.AllReduce("the gradients", &x, 1, DType::kFloat32, ReduceOp::kSum);
  });
  EXPECT_EQ(errors[1], "");
  for (const int r : {0, 2}) {
    EXPECT_THAT(errors[r], AllOf(HasSubstr("the gradients"), HasSubstr("rank 1"))) << r;
  }
}

TEST_P(EveryTransport, CallsThatDifferAreAnErrorOnAllRanks) {
  const auto errors = RunRanks(GetParam().make(3), [&](Communicator& c) {
    c.set_timeout(milliseconds(10'000));
    std::vector<float> x(10);
    c.AllReduce("the gradients", x.data(), c.rank() == 2 ? 7 : 10, DType::kFloat32, ReduceOp::kSum);
  });
  for (const std::string& e : errors) {
    EXPECT_THAT(e, AllOf(HasSubstr("disagree"), HasSubstr("rank 2"), HasSubstr("7 float32"),
                         HasSubstr("10 float32")));
  }
}

TEST_P(EveryTransport, AnotherReductionOrNameOrRootOrKindIsADisagreementToo) {
  const std::vector<std::pair<std::string, std::function<void(Communicator&, bool)>>> cases = {
      {"(max)",
       [](Communicator& c, bool other) {
         float x = 1;
         c.AllReduce("x", &x, 1, DType::kFloat32, other ? ReduceOp::kMax : ReduceOp::kSum);
       }},
      {"'y'",
       [](Communicator& c, bool other) {
         float x = 1;
         c.AllReduce(other ? "y" : "x", &x, 1, DType::kFloat32, ReduceOp::kSum);
       }},
      {"broadcast",
       [](Communicator& c, bool other) { c.Broadcast("x", nullptr, 0, other ? 1 : 0); }},
      {"barrier",
       [](Communicator& c, bool other) {
         if (other)
           c.Barrier("x");
         else
           c.AllGather("x", nullptr, 0);
       }},
  };
  for (const auto& [text, call] : cases) {
    const auto errors =
        RunRanks(GetParam().make(2), [&](Communicator& c) { call(c, c.rank() == 1); });
    EXPECT_THAT(errors, Each(AllOf(HasSubstr("disagree"), HasSubstr("rank 1"), HasSubstr(text))));
  }
}

TEST_P(EveryTransport, AbortWakesThoseWhoWait) {
  const auto ranks = GetParam().make(2);
  const auto errors = RunRanks(ranks, [&](Communicator& c) {
    if (c.rank() == 1) {
      c.Abort("the loss of rank 1 is NaN");
    } else {
      c.Barrier("start");
    }
  });
  EXPECT_THAT(errors[0], HasSubstr("the loss of rank 1 is NaN"));
  EXPECT_THAT(RunRanks(ranks, [](Communicator& c) { c.Barrier("later"); }),
              Each(HasSubstr("the loss of rank 1 is NaN")));
}

}  // namespace
}  // namespace ostria
