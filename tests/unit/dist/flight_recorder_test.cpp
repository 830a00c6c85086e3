// SPDX-License-Identifier: Apache-2.0
#include "dist/flight_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "dist/local.h"
#include "dist/overlapped.h"
#include "dist/transports.h"

namespace ostria {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class FlightRecorderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = (std::filesystem::temp_directory_path() /
             StrCat("ostria-flight-", getpid(), "-",
                    ::testing::UnitTest::GetInstance()->current_test_info()->name()))
                .string();
    folder_ = base_ + "/made/when/needed";
  }
  void TearDown() override { std::filesystem::remove_all(base_); }
  FlightOptions Options() const { return {1, 4, "host-b", "shm", folder_}; }
  static std::string Read(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::string base_, folder_;
};

TEST_F(FlightRecorderTest, KeepsTheLatestThousandInOrder) {
  FlightRecorder recorder(Options());
  for (int i = 0; i < 2500; ++i) {
    recorder.Complete(recorder.Start({"all_reduce", StrCat("bucket ", i), i, DType::kFloat32}));
  }
  const auto entries = recorder.Entries();
  ASSERT_EQ(entries.size(), 1000U);
  EXPECT_EQ(entries.front().sequence, 1500);
  EXPECT_EQ(entries.back().what, "bucket 2499");
  EXPECT_EQ(entries.back().bytes, 4 * 2499);
  for (const FlightEntry& e : entries) {
    EXPECT_EQ(e.state, CollectiveState::kCompleted);
    EXPECT_LE(e.scheduled, e.started);
    EXPECT_LE(e.started, e.ended);
  }
}

TEST_F(FlightRecorderTest, WhatWasScheduledIsStartedAndNotRecordedTwice) {
  FlightRecorder recorder(Options());
  const Call first{"all_reduce", "bucket 0", 10, DType::kFloat32};
  const Call second{"all_reduce", "bucket 1", 20, DType::kFloat32};
  EXPECT_EQ(recorder.Schedule(first), 0);
  EXPECT_EQ(recorder.Schedule(second), 1);
  EXPECT_EQ(recorder.Last().sequence, -1);  // none was entered
  EXPECT_EQ(recorder.Start(second), 1);
  EXPECT_EQ(recorder.Start(first), 0);
  EXPECT_EQ(recorder.Start(first), 2);
  EXPECT_EQ(recorder.Entries()[0].state, CollectiveState::kStarted);
}

TEST_F(FlightRecorderTest, WhatRunsBesideAStepIsScheduledWhenItIsStarted) {
  auto group = MakeLocalGroup({"cpu:0", "cpu:1"});
  auto recorded = std::make_unique<RecordedCommunicator>(std::move(group[0]), "host-a", "");
  FlightRecorder& recorder = recorded->recorder();
  const auto rank = MakeOverlapped(std::move(recorded));
  float x = 1;
  rank->Start(0, "bucket 0", &x, 1, DType::kFloat32, ReduceOp::kSum);  // rank 1 does not come
  rank->Start(0, "bucket 1", &x, 1, DType::kFloat32, ReduceOp::kSum);
  while (recorder.Last().sequence != 0) std::this_thread::yield();
  const auto entries = recorder.Entries();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].state, CollectiveState::kStarted);
  EXPECT_EQ(entries[1].state, CollectiveState::kScheduled);
  EXPECT_EQ(entries[1].what, "bucket 1");
  rank->Abort("enough");
}

TEST_F(FlightRecorderTest, DumpIsReadableByItsOwnerAloneAndHasNoData) {
  FlightRecorder recorder(Options());
  recorder.Complete(recorder.Start({"broadcast", "a \"name\"\n", 8, DType::kUInt8, 3}));
  recorder.Fail(recorder.Start({"all_reduce", "loss", 2, DType::kBFloat16, 2}), "rank 0 died");
  const std::string path = recorder.Dump("asked");
  EXPECT_EQ(path, folder_ + "/rank-1.json");
  struct stat facts {};
  ASSERT_EQ(stat(path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
  EXPECT_THAT(Read(path), AllOf(HasSubstr("\"a \\\"name\\\"\\n\""), HasSubstr("\"root\": 3"),
                                HasSubstr("\"reduction\": \"max\""), HasSubstr("bfloat16"),
                                HasSubstr("\"error\": \"rank 0 died\""), HasSubstr("host-b"),
                                HasSubstr("\"reason\": \"asked\"")));
  EXPECT_EQ(recorder.Dump("asked again"), path);
  EXPECT_THAT(Read(path), HasSubstr("asked again"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(FlightRecorderTest, AFolderThatCannotBeMadeIsAnErrorOfTheDumpAndHidesNoOther) {
  std::ofstream(base_) << "a file where the folder should be";
  FlightRecorder recorder(Options());
  EXPECT_THROW(recorder.Dump("asked"), Error);
  auto group = MakeLocalGroup({"cpu:0", "cpu:1"});
  RecordedCommunicator rank(std::move(group[0]), "host-a", folder_);
  rank.set_timeout(std::chrono::milliseconds(50));
  ::testing::internal::CaptureStderr();
  EXPECT_FALSE(rank.Dump("asked"));
  EXPECT_FALSE(rank.Dump("asked again"));
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, AllOf(HasSubstr("no record of rank 0"), HasSubstr("cannot make")));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
  try {
    rank.Barrier("alone");
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("rank 1"), Not(HasSubstr("explain-hang"))));
  }
}

TEST_F(FlightRecorderTest, AFailedCallIsDumpedAndItsErrorSaysWhere) {
  auto group = MakeLocalGroup({"cpu:0", "cpu:1"});
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (auto& rank : group) {
    ranks.push_back(std::make_unique<RecordedCommunicator>(std::move(rank), "host-a", folder_));
  }
  const auto errors = RunRanks(ranks, [&](Communicator& c) {
    std::vector<float> x(3);
    c.AllReduce("fine", x.data(), 3, DType::kFloat32, ReduceOp::kSum, ReduceOrder::kAny);
    c.AllReduce("gradients", x.data(), 3 - c.rank(), DType::kFloat32, ReduceOp::kSum,
                ReduceOrder::kAny);
  });
  for (int r = 0; r < 2; ++r) {
    EXPECT_THAT(errors[r],
                AllOf(HasSubstr("disagree"), HasSubstr("ostria explain-hang " + folder_)));
    EXPECT_THAT(Read(StrCat(folder_, "/rank-", r, ".json")),
                AllOf(HasSubstr("\"completed\""), HasSubstr("\"failed\""), HasSubstr("local")));
  }
}

TEST_F(FlightRecorderTest, WhoLeavesLeavesARecordUnlessItsFailureHasOne) {
  const std::string path = folder_ + "/rank-0.json";
  const auto leave = [&](const std::string& failure) {
    auto group = MakeLocalGroup({"cpu:0", "cpu:1"});
    RecordedCommunicator rank(std::move(group[0]), "host-a", folder_);
    if (!failure.empty()) rank.Dump(failure);
  };
  leave("");
  EXPECT_THAT(Read(path), HasSubstr("\"reason\": \"left the group\""));
  leave("a peer failed");
  EXPECT_THAT(Read(path), HasSubstr("\"reason\": \"a peer failed\""));
}

TEST_F(FlightRecorderTest, ARecordIsDumpedWhileACallHangs) {
  auto group = MakeLocalGroup({"cpu:0", "cpu:1"});
  RecordedCommunicator rank(std::move(group[0]), "host-a", folder_);
  std::thread hangs([&] { EXPECT_THROW(rank.Barrier("step 12"), Error); });
  while (rank.recorder().Last().sequence != 0) std::this_thread::yield();
  EXPECT_TRUE(rank.Dump("asked"));
  EXPECT_THAT(Read(folder_ + "/rank-0.json"), HasSubstr("asked"));
  rank.Abort("enough");
  hangs.join();
  EXPECT_THAT(Read(folder_ + "/rank-0.json"), Not(HasSubstr("asked")));  // then by the failure
}

TEST_F(FlightRecorderTest, TheLastOneIsReadWholeWhileOthersAreWritten) {
  FlightRecorder recorder(Options());
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 0; i < 20'000; ++i) {
      recorder.Complete(
          recorder.Start({"all_reduce", std::string(90, static_cast<char>('a' + i % 26)), i}));
    }
    done = true;
  });
  int64_t before = -1;
  while (!done) {
    const LastCollective last = recorder.Last();
    if (last.sequence < 0) continue;
    ASSERT_GE(last.sequence, before);
    before = last.sequence;
    ASSERT_EQ(std::string(last.what), std::string(90, static_cast<char>('a' + last.sequence % 26)));
  }
  writer.join();
  EXPECT_EQ(recorder.Last().sequence, 19'999);
  EXPECT_EQ(recorder.Last().state, CollectiveState::kCompleted);
}

}  // namespace
}  // namespace ostria
