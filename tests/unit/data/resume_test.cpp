// SPDX-License-Identifier: Apache-2.0
// Saving and restoring at every position of every shape of pipeline changes nothing; damaged and
// foreign positions are errors.
#include <gtest/gtest.h>

#include "data/dataset.h"
#include "pipelines.h"

namespace ostria::data {
namespace {

struct Case {
  const char* name;
  DatasetPtr (*make)();
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

DatasetPtr Ten() { return Range(0, 10, 1); }
DatasetPtr Mixed() { return Shuffle(Ten(), 6, 1, true); }

const Case kCases[] = {
    {"range", [] { return Ten(); }},
    {"generator", [] { return FromCounter(10); }},
    {"rows_shuffle", [] { return Shuffle(Ten(), 4, 1, true); }},
    {"rows_shuffle_big_buffer", [] { return Shuffle(Ten(), 100, 1, true); }},
    {"elements_shuffle", [] { return Shuffle(FromCounter(10), 4, 1, true); }},
    {"elements_shuffle_repeat", [] { return Repeat(Shuffle(FromCounter(10), 4, 1, true), 3); }},
    {"repeat_elements_shuffle", [] { return Shuffle(Repeat(FromCounter(10), 3), 13, 1, true); }},
    {"chain", [] { return Batch(Repeat(Mixed(), 5), 4, false); }},
    {"chain_drop", [] { return Batch(Repeat(Mixed(), 5), 4, true); }},
    {"repeat_shuffle", [] { return Batch(Shuffle(Repeat(Ten(), 4), 7, 1, true), 3, false); }},
    {"same_order", [] { return Repeat(Shuffle(Ten(), 6, 1, false), 3); }},
    {"two_shuffles", [] { return Repeat(Shuffle(Repeat(Mixed(), 2), 5, 2, true), 2); }},
    {"take_skip", [] { return Repeat(Take(Skip(Mixed(), 2), 5), 3); }},
    {"take_skip_elements", [] { return Repeat(Take(Skip(FromCounter(10), 2), 5), 3); }},
    {"map", [] { return Batch(Repeat(MapTen(Mixed()), 3), 4, false); }},
    {"map_shuffle", [] { return Repeat(Shuffle(MapTen(Ten()), 6, 1, true), 3); }},
    {"parallel_map", [] { return Batch(Repeat(MapTen(Mixed(), 3), 3), 4, false); }},
    {"parallel_map_last", [] { return MapTen(Repeat(Mixed(), 15), 2); }},
    {"prefetch", [] { return Prefetch(Batch(Repeat(Mixed(), 5), 4, false), 2); }},
    {"prefetch_long", [] { return Prefetch(Repeat(Mixed(), 30), 5); }},
    {"prefetch_generator", [] { return Prefetch(Repeat(FromCounter(7), 20), 3); }},
    {"prefetch_repeat", [] { return Repeat(Prefetch(Mixed(), 3), 3); }},
    {"prefetch_shuffle",
     [] { return Repeat(Shuffle(Prefetch(FromCounter(10), 3), 4, 8, true), 3); }},
    {"everything",
     [] {
       const DatasetPtr inner = MapTen(Repeat(Prefetch(FromCounter(9), 2), 9));
       return Prefetch(MapTen(Batch(Shuffle(inner, 5, 3, true), 2, false), 2), 3);
     }},
    {"enumerate", [] { return Enumerate(Mixed(), 100); }},
    {"zip",
     [] {
       return Repeat(Zip({Mixed(), FromCounter(7)}), 3);
     }},
};

class Resume : public testing::TestWithParam<Case> {};

TEST_P(Resume, IsExactAtEveryPosition) {
  const auto all = Read(GetParam().make());
  ASSERT_GT(all.size(), 3u);
  Iterator run(GetParam().make());
  Element element;
  for (size_t position = 0; position <= all.size(); ++position) {
    const std::string state = run.SaveState();
    Iterator resumed(GetParam().make());
    resumed.RestoreState(state);
    EXPECT_EQ(resumed.SaveState(), state) << "at " << position;
    const std::vector<std::vector<int64_t>> rest(all.begin() + static_cast<int64_t>(position),
                                                 all.end());
    ASSERT_EQ(Read(resumed), rest) << "at " << position;
    ASSERT_EQ(run.Next(&element), position < all.size());
    if (position < all.size()) {
      ASSERT_EQ(Values(element), all[position]);
    }
  }
  Iterator ended(GetParam().make());  // the end is a position too
  ended.RestoreState(run.SaveState());
  EXPECT_FALSE(ended.Next(&element));
}

TEST_P(Resume, GoesBackAndForthInOneIterator) {
  Iterator it(GetParam().make());
  Read(it, 3);
  const std::string state = it.SaveState();
  const auto rest = Read(it);
  it.RestoreState(state);
  EXPECT_EQ(Read(it), rest);
  it.RestoreState(state);
  EXPECT_EQ(Read(it), rest);
}

TEST_P(Resume, SurvivesInterruptionsInARow) {
  const auto all = Read(GetParam().make());
  auto it = std::make_unique<Iterator>(GetParam().make());
  Iterator uninterrupted(GetParam().make());
  std::vector<std::vector<int64_t>> got;
  Element element;
  while (it->Next(&element)) {
    got.push_back(Values(element));
    ASSERT_TRUE(uninterrupted.Next(&element));
    // Not only the elements: the checkpoints of both runs are the same bytes.
    ASSERT_EQ(it->SaveState(), uninterrupted.SaveState()) << "after " << got.size();
    if (got.size() % 3 != 0) continue;
    const std::string state = it->SaveState();
    it = std::make_unique<Iterator>(GetParam().make());
    it->RestoreState(state);
  }
  EXPECT_EQ(got, all);
}

TEST_P(Resume, DamagedTextIsAnError) {
  Iterator run(GetParam().make());
  Read(run, 3);
  const std::string good = run.SaveState();
  const size_t last_token = good.rfind(' ');
  Element element;
  for (size_t cut = 0; cut <= last_token; ++cut) {  // a shorter last number may be a position too
    Iterator it(GetParam().make());
    EXPECT_THROW(it.RestoreState(good.substr(0, cut)), Error) << cut;
    if (cut > good.find("\n\n") + 1) {
      EXPECT_THROW(it.Next(&element), Error) << "half restored: " << cut;
    }
  }
  Iterator it(GetParam().make());
  EXPECT_THROW(it.RestoreState(good + " 1"), Error);
}

INSTANTIATE_TEST_SUITE_P(Pipelines, Resume, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ResumeErrors, OtherPipelineIsNamed) {
  Iterator saved(Batch(Mixed(), 4, false));
  const std::string state = saved.SaveState();
  Iterator other(Batch(Mixed(), 8, false));
  EXPECT_EQ(
      MessageOf([&] { other.RestoreState(state); }),
      "restore: the position was saved by another input pipeline: stage 3 of it is batch(4, "
      "drop_remainder=false), here it is batch(8, drop_remainder=false); build the pipeline as it "
      "was, or start the input from its beginning");
  EXPECT_EQ(Read(other).size(), 2u);  // still usable
  Iterator longer(Repeat(Batch(Mixed(), 4, false), 2));
  EXPECT_EQ(MessageOf([&] { longer.RestoreState(state); }),
            "restore: the position was saved by another input pipeline: stage 4 of it is missing, "
            "here it "
            "is repeat(2); build the pipeline as it was, or start the input from its beginning");
  EXPECT_EQ(MessageOf([&] { other.RestoreState("hello\n"); }),
            "this is not the saved position of an input pipeline: it begins with 'hello'; "
            "'ostria-data 1' "
            "was expected");
}

TEST(ResumeErrors, RowsThatDoNotExist) {
  Iterator it(Shuffle(Ten(), 4, 1, true));
  Read(it, 1);
  std::string state = it.SaveState();
  state[state.rfind('=') + 1] = 'z';
  const std::string message = MessageOf([&] { it.RestoreState(state); });
  EXPECT_NE(message.find("row 61 does not exist; the source has 10"), std::string::npos) << message;
}

TEST(ResumeErrors, GeneratorThatBecameShorter) {
  Iterator it(FromCounter(10));
  Read(it, 8);
  Iterator shorter(FromCounter(5));
  EXPECT_EQ(
      MessageOf([&] { shorter.RestoreState(it.SaveState()); }),
      "from_generator: the saved position is after element 8, but the generator ended after 5; a "
      "resumed generator must yield what it yielded before");
}

TEST(ResumeSeed, TravelsWithThePosition) {
  const auto make = [] { return Repeat(Shuffle(Range(0, 50, 1), 50, std::nullopt, true), 2); };
  Iterator it(make());
  Read(it, 20);
  Iterator resumed(make());
  resumed.RestoreState(it.SaveState());
  EXPECT_EQ(Read(resumed), Read(it));
}

TEST(ResumeSeed, LaterIteratorsGoOnToo) {
  const DatasetPtr ds = Shuffle(Range(0, 50, 1), 50, 1, true);
  Read(ds);
  Iterator second(ds);
  Read(second, 10);
  const std::string state = second.SaveState();
  const auto third = Read(ds);
  const DatasetPtr twin = Shuffle(Range(0, 50, 1), 50, 1, true);
  Iterator resumed(twin);
  resumed.RestoreState(state);
  EXPECT_EQ(Read(resumed), Read(second));
  EXPECT_EQ(Read(twin), third);
}

TEST(ResumeCost, SkipsWithoutCallingTheFunction) {
  const auto make = [](const std::shared_ptr<TimesTen>& fn) {
    return Prefetch(Shuffle(Map(Range(0, 1000, 1), fn, 1), 5, 1, true), 1);
  };
  const auto fn = std::make_shared<TimesTen>();
  Iterator run(make(std::make_shared<TimesTen>())), resumed(make(fn));
  Read(run, 900);
  resumed.RestoreState(run.SaveState());
  EXPECT_LE(fn->calls, 80);  // the buffer, and what lies between two noted positions
}

}  // namespace
}  // namespace ostria::data
