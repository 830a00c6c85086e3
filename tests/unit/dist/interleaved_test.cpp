// SPDX-License-Identifier: Apache-2.0
#include "dist/interleaved.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <future>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/allocations.h"
#include "dist/flight_recorder.h"
#include "dist/shm.h"
#include "dist/transports.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::HasSubstr;

// Ranks over shared memory of small buffers, whose calls are recorded.
struct Ranks {
  std::vector<std::unique_ptr<Communicator>> all;
  std::vector<FlightRecorder*> recorders;

  explicit Ranks(int size) : all(size), recorders(size) {
    const auto values = MakeInProcessKeyValues();
    ShmOptions options;
    options.segment_bytes = 4096;
    options.timeout = milliseconds(10'000);
    std::vector<std::thread> threads;
    for (int r = 0; r < size; ++r) {
      threads.emplace_back([&, r] {
        auto recorded =
            std::make_unique<RecordedCommunicator>(MakeShm(r, size, *values, options), "host", "");
        recorders[r] = &recorded->recorder();
        all[r] = MakeInterleaved(std::move(recorded));
      });
    }
    for (std::thread& t : threads) t.join();
  }
};

void Start(Communicator& c, int slot, std::string_view what, std::vector<float>& data) {
  c.Start(slot, what, data.data(), static_cast<int64_t>(data.size()), DType::kFloat32,
          ReduceOp::kSum);
}

CollectiveState LastState(const FlightRecorder& recorder) {
  return recorder.Entries().back().state;
}

TEST(Interleaved, OneThreadDoesForItsRankWhatItCanAndGoesOn) {
  Ranks ranks(2);
  std::vector<float> a(5000, 1), b(5000, 2);
  // Both ranks are this thread's: it would wait for ever if it waited for another one.
  Start(*ranks.all[0], 0, "large", a);
  Start(*ranks.all[1], 0, "large", b);
  // They compute: whoever looks for hangs must not take them for waiting.
  EXPECT_EQ(LastState(*ranks.recorders[0]), CollectiveState::kScheduled);
  EXPECT_THAT(a, Each(1));
  std::thread other([&] { ranks.all[1]->Wait(0); });
  ranks.all[0]->Wait(0);
  other.join();
  EXPECT_THAT(a, Each(3));
  EXPECT_THAT(b, Each(3));
  EXPECT_EQ(LastState(*ranks.recorders[0]), CollectiveState::kCompleted);
}

TEST(Interleaved, SumsAreThoseOfCallsThatAreMadeAtOnce) {
  for (const int size : {1, 2, 3}) {
    std::vector<std::vector<std::vector<float>>> started(size), at_once(size);
    for (int r = 0; r < size; ++r) {
      for (const int64_t count : {0, 1, 100, 1024, 1025, 5000, 70'000}) {
        std::vector<float> data(count);
        for (int64_t i = 0; i < count; ++i) data[i] = 1.0F / static_cast<float>(1 + r + i % 1000);
        started[r].push_back(data);
        at_once[r].push_back(data);
      }
    }
    Ranks ranks(size);
    const auto errors = RunRanks(ranks.all, [&](Communicator& c) {
      for (int turn = 0; turn < 2; ++turn) {
        int slot = 0;
        for (auto& data : started[c.rank()]) Start(c, slot++, "started", data);
        c.Barrier("between");
        for (auto& data : started[c.rank()]) Start(c, slot++, "again", data);
        while (slot-- > 0) c.Wait(slot);
        c.Wait(99);  // nothing was
        for (auto& data : at_once[c.rank()]) {
          for (int twice = 0; twice < 2; ++twice) {
            c.AllReduce("at once", data.data(), static_cast<int64_t>(data.size()), DType::kFloat32,
                        ReduceOp::kSum, ReduceOrder::kAny);
          }
        }
      }
    });
    ASSERT_THAT(errors, Each(""));
    for (int r = 0; r < size; ++r) ASSERT_EQ(started[r], at_once[r]) << size << " ranks";
  }
}

TEST(Interleaved, MoreCallsThanItHasRoomForAreMadeInOrder) {
  Ranks ranks(2);
  const auto errors = RunRanks(ranks.all, [&](Communicator& c) {
    std::vector<float> data(8, 1);
    for (int i = 0; i < 600; ++i) Start(c, i % 3, i % 2 == 0 ? "even" : "odd", data);
    for (int slot = 0; slot < 3; ++slot) c.Wait(slot);
    if (!std::isinf(data[0])) throw Error(ErrorCode::kInternal, "", "some were not made");
  });
  EXPECT_THAT(errors, Each(""));  // names are compared
}

TEST(Interleaved, AFailureIsThrownByWaitAndByEveryLaterCall) {
  Ranks ranks(2);
  std::vector<float> a(10, 1);
  Start(*ranks.all[0], 0, "first", a);
  ranks.all[1]->Abort("rank 1 ended");
  for (int i = 0; i < 3; ++i) {
    try {
      if (i == 0) ranks.all[0]->Wait(0);
      if (i == 1) ranks.all[0]->Barrier("met");
      if (i == 2) Start(*ranks.all[0], 0, "second", a);
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kDistributed);
      EXPECT_THAT(e.what(), HasSubstr("first: rank 1 ended"));
    }
  }
  EXPECT_EQ(LastState(*ranks.recorders[0]), CollectiveState::kFailed);
  ranks.all[0]->Settle();  // throws nothing
}

TEST(Interleaved, WhoWaitsIsInTheCallAndWhoComputesIsNot) {
  Ranks ranks(2);
  std::vector<float> a(5000, 1), b(5000, 2);
  Start(*ranks.all[0], 0, "first", a);
  Start(*ranks.all[1], 0, "first", b);
  std::thread other([&] { ranks.all[1]->Wait(0); });
  while (LastState(*ranks.recorders[1]) != CollectiveState::kStarted) std::this_thread::yield();
  EXPECT_EQ(LastState(*ranks.recorders[0]), CollectiveState::kScheduled);
  ranks.all[0]->Wait(0);
  other.join();
}

TEST(Interleaved, SettlesWhatWasStarted) {
  Ranks ranks(2);
  std::vector<float> a(5000, 1), b(5000, 2);
  Start(*ranks.all[0], 0, "first", a);
  std::future<void> settled = std::async(std::launch::async, [&] { ranks.all[0]->Settle(); });
  EXPECT_EQ(settled.wait_for(milliseconds(20)), std::future_status::timeout);
  Start(*ranks.all[1], 0, "first", b);
  ranks.all[1]->Wait(0);
  settled.get();
  EXPECT_THAT(a, Each(3));
}

TEST(Interleaved, WhoEndsBeforeItsCallsAreDoneEndsTheOthers) {
  Ranks ranks(2);
  std::vector<float> a(10, 1);
  Start(*ranks.all[0], 0, "first", a);
  ranks.all[0].reset();
  try {
    ranks.all[1]->Barrier("met");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("the replica ended"));
  }
}

TEST(Interleaved, OnlyTheTimeInWhichTheCallerWaitsIsCounted) {
  Ranks ranks(2);
  std::vector<float> a(10, 1), b(10, 1);
  Start(*ranks.all[0], 0, "first", a);
  std::this_thread::sleep_for(milliseconds(20));  // it computes
  EXPECT_EQ(ranks.recorders[0]->blocked(), 0);
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(200));
    Start(*ranks.all[1], 0, "first", b);
  });
  ranks.all[0]->Wait(0);
  other.join();
  const int64_t waited = ranks.recorders[0]->blocked();
  EXPECT_GE(waited, 10'000'000);
  ranks.all[0]->Wait(0);  // it is there
  EXPECT_EQ(ranks.recorders[0]->blocked(), waited);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(Interleaved, AllocatesNothingAfterTheFirstStep) {
  Ranks ranks(1);
  std::vector<float> data(5000);
  const auto step = [&] {
    for (int slot = 0; slot < 3; ++slot) Start(*ranks.all[0], slot, "call", data);
    for (int slot = 0; slot < 3; ++slot) ranks.all[0]->Wait(slot);
  };
  for (int i = 0; i < 400; ++i) step();  // the record has been filled once
  const int64_t before = num_allocations;
  for (int i = 0; i < 3; ++i) step();
  EXPECT_EQ(num_allocations - before, 0);
}
#endif

}  // namespace
}  // namespace ostria
