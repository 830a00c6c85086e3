// SPDX-License-Identifier: Apache-2.0
// What is particular to shared memory: how the group meets, and what happens when it does not.
#include "dist/shm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/error.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ErrorOfJoining(int rank, int size, KeyValues& values, ShmOptions options = {}) {
  options.join_timeout = milliseconds(100);
  options.labels = {"rank 0 (host-a)", "rank 1 (host-a)"};
  try {
    MakeShm(rank, size, values, options);
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kDistributed);
    return e.what();
  }
}

TEST(Shm, NamesWhoDoesNotComeToTheStart) {
  const auto values = MakeInProcessKeyValues();
  EXPECT_THAT(ErrorOfJoining(1, 2, *values),
              AllOf(HasSubstr("rank 0 (host-a)"), HasSubstr("0.1 s")));
  EXPECT_THAT(ErrorOfJoining(0, 2, *values),
              AllOf(HasSubstr("rank 1 (host-a)"), HasSubstr("0.1 s")));
}

TEST(Shm, RefusesADamagedEntryOfTheStore) {
  const auto values = MakeInProcessKeyValues();
  for (const char* text : {"", "1", "1 2", "1 2 3 4", "a b c", "-1 2 3", "1  2 3", "1 2 3 ",
                           "99999999999999999999 1 1"}) {
    values->Set("group/shm", text);
    EXPECT_THAT(ErrorOfJoining(1, 2, *values), AllOf(HasSubstr("group/shm"), HasSubstr("damaged")))
        << text;
  }
  values->Set("group/shm", "999999999 5 1");  // no such process
  EXPECT_THAT(ErrorOfJoining(1, 2, *values), HasSubstr("cannot open the shared memory of rank 0"));
  values->Set("group/shm", StrCat(getpid(), " 0 1"));  // its standard input
  EXPECT_NE(ErrorOfJoining(1, 2, *values), "");
}

TEST(Shm, RefusesTheMemoryOfAnotherGroup) {
  const auto values = MakeInProcessKeyValues();
  std::string error;
  std::thread first([&] {
    ShmOptions options;
    options.join_timeout = milliseconds(500);
    EXPECT_THROW(MakeShm(0, 2, *values, options), Error);
  });
  const std::string place = *values->Get("group/shm", milliseconds(1000));
  values->Set("group/shm", place.substr(0, place.rfind(' ')) + " 1");
  EXPECT_THAT(ErrorOfJoining(1, 2, *values), HasSubstr("another group"));
  values->Set("group/shm", place);
  ShmOptions other;
  other.segment_bytes = 4096;
  EXPECT_THAT(ErrorOfJoining(1, 2, *values, other), HasSubstr("not the shared memory"));
  first.join();
}

TEST(Shm, WhoLeavesIsNamedAtOnce) {
  const auto values = MakeInProcessKeyValues();
  std::unique_ptr<Communicator> stays;
  std::thread other([&] { MakeShm(1, 2, *values, {}).reset(); });
  stays = MakeShm(0, 2, *values, {});
  other.join();
  stays->set_timeout(milliseconds(10'000));
  const auto begin = std::chrono::steady_clock::now();
  try {
    stays->Barrier("step 7");
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("step 7"), HasSubstr("rank 1 has left")));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(KeyValues, AFolderGivesBackWhatWasSetAndNothingElse) {
  const std::string folder =
      (std::filesystem::temp_directory_path() / StrCat("ostria-kv-", getpid())).string();
  std::filesystem::create_directory(folder);
  const auto values = MakeFolderKeyValues(folder), others = MakeFolderKeyValues(folder);
  EXPECT_EQ(values->Get("../a/b", milliseconds(0)), std::nullopt);
  const std::string bytes("zero \0 and\n more", 16);
  values->Set("../a/b", bytes);
  values->Set("..%2fa/b", "another");
  EXPECT_EQ(others->Get("../a/b", milliseconds(0)), bytes);
  values->Set("../a/b", "second");
  EXPECT_EQ(others->Get("../a/b", milliseconds(0)), "second");
  EXPECT_FALSE(std::filesystem::exists(folder + "/../a"));
  EXPECT_THROW(MakeFolderKeyValues(folder + "/missing")->Set("a", "b"), Error);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace ostria
