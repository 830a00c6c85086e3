// SPDX-License-Identifier: Apache-2.0
// Transports that meet through the control channel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "dist/control/server.h"
#include "dist/control/watch.h"
#include "dist/make_communicator.h"
#include "dist/transports.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::HasSubstr;

class ControlKeyValues : public ::testing::Test {
 protected:
  void Start(int world) {
    control::Timers timers;
    server_ = std::make_unique<control::Server>(
        control::Listener::Open("127.0.0.1", 0),
        control::HubOptions{"job", 1, world, timers, 0, "here", 42}, secret_,
        [](const std::string&) {});
    for (int r = 0; r < world; ++r) {
      clients_.push_back(std::make_shared<control::Client>(
          control::ClientOptions{server_->host(), server_->port(), "job", 1, control::Role::kRank,
                                 r, world, "here", timers},
          secret_));
      values_.push_back(control::MakeStoreKeyValues(clients_.back(), "group/"));
    }
  }
  void TearDown() override {
    for (auto& client : clients_) client->Leave();
  }

  const control::Secret secret_ = control::Secret::Generate();
  std::unique_ptr<control::Server> server_;
  std::vector<std::shared_ptr<control::Client>> clients_;
  std::vector<std::shared_ptr<KeyValues>> values_;
};

TEST_F(ControlKeyValues, OneRankReadsWhatAnotherSets) {
  Start(2);
  EXPECT_EQ(values_[0]->Get("a", milliseconds(0)), std::nullopt);
  EXPECT_EQ(values_[0]->Get("a", milliseconds(30)), std::nullopt);
  std::thread setter([&] { values_[1]->Set("a", "b"); });
  EXPECT_EQ(values_[0]->Get("a", milliseconds(20'000)), "b");
  setter.join();
}

TEST_F(ControlKeyValues, RanksMeetThroughItAndReduce) {
  Start(2);
  std::vector<std::string> hosts(4, "here");
  std::vector<std::unique_ptr<Communicator>> ranks(4);
  std::vector<std::thread> processes;
  for (int p = 0; p < 2; ++p) {  // with two ranks each
    processes.emplace_back([&, p] {
      auto made = MakeCommunicators(2 * p, 2, hosts, values_[p], {});
      for (int i = 0; i < 2; ++i) {
        EXPECT_THAT(made[i].choice, HasSubstr("shm: all 4 ranks are on 'here'"));
        ranks[2 * p + i] = std::move(made[i].communicator);
      }
    });
  }
  for (std::thread& t : processes) t.join();
  std::vector<float> data = {1, 2, 3, 4};
  EXPECT_THAT(RunRanks(ranks,
                       [&](Communicator& c) {
                         c.AllReduce("x", &data[c.rank()], 1, DType::kFloat32, ReduceOp::kSum);
                       }),
              Each(""));
  EXPECT_THAT(data, Each(10.0F));
}

}  // namespace
}  // namespace ostria
