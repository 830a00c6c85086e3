// SPDX-License-Identifier: Apache-2.0
#include "dist/overlapped.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/allocations.h"
#include "dist/flight_recorder.h"

namespace ostria {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Notes what it is asked for, and waits until it is let go or aborted.
class Gate final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string_view transport() const override { return "gate"; }
  void AllReduce(std::string_view what, void*, int64_t, DType, ReduceOp, ReduceOrder) override {
    std::unique_lock lock(mutex_);
    entered_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_ || !why_.empty(); });
    if (!why_.empty()) throw Error(ErrorCode::kDistributed, std::string(what), why_);
    if (names.size() < names.capacity()) names.push_back(what);
  }
  void ReduceScatter(std::string_view, const void*, void*, int64_t, DType, ReduceOp,
                     ReduceOrder) override {}
  void AllGather(std::string_view what, void*, int64_t) override { names.push_back(what); }
  void Broadcast(std::string_view, void*, int64_t, int) override {}
  void Barrier(std::string_view what) override { names.push_back(what); }
  void Abort(const std::string& why) override {
    std::lock_guard lock(mutex_);
    if (why_.empty()) why_ = why;
    changed_.notify_all();
  }
  void set_timeout(std::chrono::milliseconds) override {}

  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void AwaitCall() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return entered_; });
  }
  std::vector<std::string_view> names;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false, entered_ = false;
  std::string why_;
};

struct Pair {
  Gate* gate = new Gate;
  std::unique_ptr<Communicator> c = MakeOverlapped(std::unique_ptr<Communicator>(gate));
  float data = 1;
  Pair() { gate->names.reserve(16); }
  void Start(int slot, std::string_view what) {
    c->Start(slot, what, &data, 1, DType::kFloat32, ReduceOp::kSum);
  }
};

TEST(Overlapped, ACallThatWasStartedRunsBesideTheCaller) {
  Pair p;
  p.Start(0, "first");
  p.Start(1, "second");
  p.gate->AwaitCall();  // this thread goes on although the call is not done
  EXPECT_TRUE(p.gate->names.empty());
  p.gate->Open();
  p.c->Wait(0);
  EXPECT_EQ(p.gate->names.front(), "first");
  p.c->Wait(1);
  EXPECT_THAT(p.gate->names, ElementsAre("first", "second"));
  p.c->Wait(1);  // again: nothing is left
  p.c->Wait(7);
}

TEST(Overlapped, OtherCallsComeInTheOrderInWhichTheyWereMade) {
  Pair p;
  p.gate->Open();
  p.Start(0, "started");
  p.c->AllGather("gathered", &p.data, 4);
  p.Start(1, "started again");
  p.c->Barrier("met");
  EXPECT_THAT(p.gate->names, ElementsAre("started", "gathered", "started again", "met"));
}

TEST(Overlapped, AFailureIsThrownByWaitAndByEveryLaterCall) {
  Pair p;
  p.Start(0, "first");
  p.Start(1, "second");
  p.gate->Abort("rank 1 ended");
  for (int i = 0; i < 2; ++i) {
    try {
      i == 0 ? p.c->Wait(0) : p.c->Barrier("met");
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kDistributed);
      EXPECT_THAT(e.what(), HasSubstr("first: rank 1 ended"));
    }
  }
  EXPECT_TRUE(p.gate->names.empty());
}

TEST(Overlapped, OnlyTheTimeInWhichTheCallerWaitsIsCounted) {
  auto gate = std::make_unique<Gate>();
  Gate* const g = gate.get();
  auto recorded = std::make_unique<RecordedCommunicator>(std::move(gate), "host", "");
  const FlightRecorder& recorder = recorded->recorder();
  const auto c = MakeOverlapped(std::move(recorded));
  float data = 0;
  c->Start(0, "first", &data, 1, DType::kFloat32, ReduceOp::kSum);
  g->AwaitCall();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it computes beside the call
  EXPECT_EQ(recorder.blocked(), 0);
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    g->Open();
  });
  c->Wait(0);
  opener.join();
  const int64_t waited = recorder.blocked();
  EXPECT_GE(waited, 10'000'000);
  c->Wait(0);  // it is there
  EXPECT_EQ(recorder.blocked(), waited);
  c->Barrier("met");
  EXPECT_GT(recorder.blocked(), waited);
}

TEST(Overlapped, SettlesWhenNothingTouchesMemory) {
  Pair p;
  p.Start(0, "first");
  p.gate->AwaitCall();
  std::future<void> settled = std::async(std::launch::async, [&] { p.c->Settle(); });
  EXPECT_EQ(settled.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  p.gate->Open();
  settled.get();
  EXPECT_THAT(p.gate->names, ElementsAre("first"));
  p.gate->Abort("rank 1 ended");
  p.Start(0, "second");
  p.c->Settle();  // what failed is over too
  EXPECT_THROW(p.c->Wait(0), Error);
}

TEST(Overlapped, EndsWhileACallIsStuck) {
  Pair p;
  p.Start(0, "first");
  p.c.reset();
}

TEST(Overlapped, MoreCallsThanItHasRoomForWaitTheirTurn) {
  Pair p;
  p.gate->Open();
  p.gate->names.reserve(2000);
  for (int i = 0; i < 1000; ++i) p.Start(i % 3, "call");
  p.c->Wait(999 % 3);
  EXPECT_EQ(p.gate->names.size(), 1000u);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(Overlapped, AllocatesNothingAfterTheFirstStep) {
  Pair p;
  p.gate->Open();
  const auto step = [&] {
    for (int slot = 0; slot < 3; ++slot) p.Start(slot, "call");
    for (int slot = 0; slot < 3; ++slot) p.c->Wait(slot);
  };
  step();
  const int64_t before = num_allocations;
  for (int i = 0; i < 3; ++i) step();
  EXPECT_EQ(num_allocations - before, 0);
}
#endif

}  // namespace
}  // namespace ostria
