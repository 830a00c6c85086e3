// SPDX-License-Identifier: Apache-2.0
// Hosts of any shape, as threads: groups within hosts and between them are `local` ones.
#include "dist/hierarchical.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/str_cat.h"
#include "dist/local.h"
#include "dist/transports.h"

namespace ostria {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

std::vector<std::unique_ptr<Communicator>> Hosts(const std::vector<int>& ranks_of_host) {
  std::vector<std::string> leaders;
  for (size_t h = 0; h < ranks_of_host.size(); ++h) leaders.push_back(StrCat("host-", h));
  auto between = MakeLocalGroup(leaders);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (size_t h = 0; h < ranks_of_host.size(); ++h) {
    auto inside = MakeLocalGroup(std::vector<std::string>(ranks_of_host[h], leaders[h]));
    for (int i = 0; i < ranks_of_host[h]; ++i) {
      ranks.push_back(
          MakeHierarchical(static_cast<int>(ranks.size()), ranks_of_host, std::move(inside[i]),
                           i == 0 ? std::move(between[h]) : nullptr, [](const std::string&) {}));
    }
  }
  return ranks;
}

TEST(Hierarchical, ATreeOverUnequalHostsHasTheBitsOfOneProcess) {
  for (const std::vector<int>& hosts :
       std::vector<std::vector<int>>{{3, 1}, {1, 2}, {1, 3, 4}, {2, 2, 2}, {4, 4}, {3, 3}}) {
    auto ranks = Hosts(hosts);
    const int size = static_cast<int>(ranks.size());
    std::mt19937 engine(5);
    std::normal_distribution<float> normal;
    std::vector<std::vector<float>> data(ranks.size(), std::vector<float>(3001));
    for (auto& d : data) std::generate(d.begin(), d.end(), [&] { return normal(engine); });
    auto expected = data;
    const auto reduce = [](auto& all) {
      return [&](Communicator& c) {
        c.AllReduce("x", all[c.rank()].data(), 3001, DType::kFloat32, ReduceOp::kSum,
                    ReduceOrder::kTree);
      };
    };
    ASSERT_THAT(RunRanks(MakeLocalGroup(std::vector<std::string>(size, "cpu")), reduce(expected)),
                Each(""));
    ASSERT_THAT(RunRanks(ranks, reduce(data)), Each(""));
    EXPECT_EQ(data, expected) << ::testing::PrintToString(hosts);
  }
}

TEST(Hierarchical, HalfTypesAreRoundedOnceAndNotOnEachHost) {
  auto ranks = Hosts({2, 2});
  std::vector<BFloat16> data = {BFloat16(256.0F), BFloat16(0.75F), BFloat16(0.25F), BFloat16(0.5F)};
  EXPECT_THAT(RunRanks(ranks,
                       [&](Communicator& c) {
                         c.AllReduce("x", &data[c.rank()], 1, DType::kBFloat16, ReduceOp::kSum,
                                     ReduceOrder::kAny);
                       }),
              Each(""));
  // 257.5 lies between 256 and 258; rounded on each host it would be 256 + 0.75.
  for (const BFloat16& d : data) EXPECT_EQ(static_cast<float>(d), 258.0F);
}

TEST(Hierarchical, GathersAndBroadcastsBlocksOfUnequalHosts) {
  auto ranks = Hosts({1, 3, 2});
  std::vector<std::vector<int>> data(6, std::vector<int>(12, -1));
  for (int root = 0; root < 6; ++root) {
    for (int r = 0; r < 6; ++r) data[r][2 * r] = data[r][2 * r + 1] = 10 * root + r;
    ASSERT_THAT(RunRanks(ranks,
                         [&](Communicator& c) {
                           c.AllGather("gather", data[c.rank()].data(), 8);
                           if (c.rank() != root) data[c.rank()][0] = -1;
                           c.Broadcast("broadcast", data[c.rank()].data(), 4, root);
                         }),
                Each(""));
    for (const auto& d : data) {
      for (int r = 0; r < 6; ++r) ASSERT_EQ(d[2 * r + 1], 10 * root + r);
      ASSERT_EQ(d[0], 10 * root);
    }
  }
}

TEST(Hierarchical, AFailureWithinAHostReachesTheOthersInItsOwnWords) {
  auto ranks = Hosts({2, 2});
  const auto errors = RunRanks(ranks, [](Communicator& c) {
    c.set_timeout(std::chrono::milliseconds(300));
    float x = 1;
    if (c.rank() != 3) c.AllReduce("x", &x, 1, DType::kFloat32, ReduceOp::kSum, ReduceOrder::kAny);
  });
  for (const int r : {0, 1, 2}) {
    EXPECT_THAT(errors[r], AllOf(HasSubstr("rank 1 (host-1) did not come"), HasSubstr("0.3 s")));
  }
}

}  // namespace
}  // namespace ostria
