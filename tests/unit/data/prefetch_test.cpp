// SPDX-License-Identifier: Apache-2.0
// Threads: bounded run-ahead, errors that arrive whole, prompt ends, counted waits.
#include <gtest/gtest.h>

#include "data/background.h"
#include "data/dataset.h"
#include "pipelines.h"

namespace ostria::data {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Yields for ever; counts what it produced; sleeps before each element.
class Slow final : public ExternalSource {
 public:
  Slow(std::atomic<int64_t>* produced, milliseconds pause) : produced_(produced), pause_(pause) {}
  void Reset(int64_t) override {}
  bool Next(Element* out) override {
    std::this_thread::sleep_for(pause_);
    out->assign(1, Tensor::Scalar(DType::kInt64, (*produced_)++));
    return true;
  }

 private:
  std::atomic<int64_t>* produced_;
  milliseconds pause_;
};

DatasetPtr FromSlow(std::atomic<int64_t>* produced, milliseconds pause) {
  return FromSource([=] { return std::make_unique<Slow>(produced, pause); }, std::nullopt);
}

TEST(Prefetch, RunsAheadAsFarAsAllowed) {
  std::atomic<int64_t> produced{0};
  Iterator it(Prefetch(FromSlow(&produced, milliseconds(0)), 5));
  Element element;
  ASSERT_TRUE(it.Next(&element));
  const auto limit = steady_clock::now() + std::chrono::seconds(5);
  while (produced < 6 && steady_clock::now() < limit) std::this_thread::yield();
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_EQ(produced, 6);  // one taken, five in the queue
}

TEST(Prefetch, StartsNothingBeforeTheFirstElement) {
  std::atomic<int64_t> produced{0};
  Iterator it(Prefetch(FromSlow(&produced, milliseconds(0)), 5));
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_EQ(produced, 0);
}

TEST(Prefetch, ErrorsComeAfterTheElementsBeforeThem) {
  const DatasetPtr pipelines[] = {
      Prefetch(FromCounter(10, 5), 3), Prefetch(MapTen(FromCounter(10, 5), 3), 3),
      MapTen(Prefetch(FromCounter(10, 5), 3), 3), MapTen(FromCounter(10, 5))};
  for (const DatasetPtr& ds : pipelines) {
    Iterator it(ds);
    Element element;
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(it.Next(&element)) << i;
    EXPECT_EQ(MessageOf([&] { it.Next(&element); }), "row 5 of the file is broken");
    const std::string again = MessageOf([&] { it.Next(&element); });
    EXPECT_NE(again.find("the input failed before (row 5 of the file is broken)"),
              std::string::npos)
        << again;
  }
}

TEST(Prefetch, KeepsItsPositionWhenTheInputFails) {
  Iterator it(Prefetch(FromCounter(10, 5), 3));
  Read(it, 3);
  const std::string third = it.SaveState();
  Read(it, 2);
  Element element;
  EXPECT_THROW(it.Next(&element), std::runtime_error);
  Iterator mended(Prefetch(FromCounter(10), 3));
  mended.RestoreState(it.SaveState());
  EXPECT_EQ(Flat(Read(mended)), (std::vector<int64_t>{5, 6, 7, 8, 9}));
  it.RestoreState(third);
  EXPECT_EQ(Flat(Read(it, 2)), (std::vector<int64_t>{3, 4}));

  Iterator bare(FromCounter(10, 5));
  Read(bare, 5);
  EXPECT_THROW(bare.Next(&element), std::runtime_error);
  EXPECT_EQ(
      MessageOf([&] { bare.SaveState(); }),
      "the position of an input that failed cannot be saved (row 5 of the file is broken); save "
      "before the failure, or end the pipeline with prefetch, which keeps it");
}

TEST(Prefetch, EndsPromptly) {
  std::atomic<int64_t> produced{0};
  const auto start = steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    Iterator it(Prefetch(MapTen(Prefetch(FromSlow(&produced, milliseconds(1)), 4), 3), 4));
    Read(it, i % 3);
  }
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(Prefetch, ManyAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 5; ++round) {
        const auto source = [t] { return Repeat(Shuffle(Range(0, 100, 1), 10, t, true), 3); };
        const DatasetPtr ds = Prefetch(Batch(MapTen(Prefetch(source(), 2), 3), 7, false), 1);
        if (Read(ds) == Read(Batch(MapTen(source()), 7, false))) ++right;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(right, 30);
}

TEST(Prefetch, OneIteratorServesManyThreads) {
  Iterator it(Prefetch(Range(0, 2000, 1), 8));
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Element element;
      while (it.Next(&element)) sum += element[0].data<int64_t>()[0];
    });
  }
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(it.SaveState().empty());  // while others read
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum, 2000 * 1999 / 2);
  EXPECT_EQ(it.elements(), 2000);
}

TEST(Iterator, CountsWaiting) {
  std::atomic<int64_t> produced{0};
  Iterator slow(FromSlow(&produced, milliseconds(10)));
  EXPECT_EQ(slow.wait_nanoseconds(), 0);
  Read(slow, 3);
  EXPECT_GE(slow.wait_nanoseconds(), 30'000'000);
  EXPECT_EQ(slow.elements(), 3);
}

TEST(Prefetch, WaitHookEndsAWaitAndLosesNothing) {
  std::atomic<int64_t> produced{0};
  Iterator it(Prefetch(FromSlow(&produced, milliseconds(600)), 1));
  Element element;
  SetWaitHook([] { throw std::runtime_error("interrupted"); });
  EXPECT_EQ(MessageOf([&] { it.Next(&element); }), "interrupted");
  SetWaitHook(nullptr);
  ASSERT_TRUE(it.Next(&element));
  EXPECT_EQ(element[0].data<int64_t>()[0], 0);
}

bool StopsEveryThread() {
  std::atomic<int64_t> produced{0};
  Iterator it(Prefetch(FromSlow(&produced, milliseconds(1)), 100));
  Read(it, 1);
  StopInputThreads(2000);
  const int64_t then = produced;
  std::this_thread::sleep_for(milliseconds(20));
  Iterator late(Prefetch(Range(0, 5, 1), 1));
  Element element;
  return produced == then &&
         MessageOf([&] { late.Next(&element); }) ==
             "the input pipeline cannot start a thread: the interpreter is shutting down";
}

// In a process of its own, as nothing can be started afterwards.
TEST(ShutdownDeathTest, StopsEveryThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(std::exit(StopsEveryThread() ? 7 : 1), testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace ostria::data
