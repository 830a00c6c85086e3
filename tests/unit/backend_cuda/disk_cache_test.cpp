// SPDX-License-Identifier: Apache-2.0
// One folder for many threads and processes, files that are damaged, folders that take nothing:
// what is cached is right or missing, and the user hears of it once.
#include "backend/cuda/cache/disk_cache.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "backend/cuda/cache/cache_folder.h"
#include "backend/cuda/libraries/library.h"
#include "backend_cuda/child.h"
#include "base/str_cat.h"

namespace ostria {
namespace {

namespace fs = std::filesystem;
using cuda::ReadCached;
using cuda::WriteCached;

// A folder of its own, which OSTRIA_CACHE_DIR names as long as it lives.
class Place {
 public:
  Place() : before_(cuda::CacheFolder()) {
    std::string pattern = (fs::temp_directory_path() / "ostria_disk_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
    setenv("OSTRIA_CACHE_DIR", path_.c_str(), 1);
  }
  ~Place() {
    setenv("OSTRIA_CACHE_DIR", before_.c_str(), 1);
    std::error_code error;
    fs::remove_all(path_, error);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  std::string before_;
  fs::path path_;
};

fs::path OnlyFile(const std::string& kind) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(cuda::CacheFolder()) / kind)) {
    files.push_back(entry.path());
  }
  EXPECT_EQ(files.size(), 1u);
  return files.at(0);
}

// Prints what `body`, whose cache is in TEST_FOLDER, says on stderr between marks, for
// ErrorOfChild: what was said before is not said again, so each test of it has a process.
void PrintSaid(const std::function<void()>& body) {
  setenv("OSTRIA_CACHE_DIR", cuda::Environment("TEST_FOLDER").c_str(), 1);
  std::printf("<<<");
  std::fflush(stdout);
  body();
  std::printf(">>>\n");
}

std::string SaidBy(const std::string& folder, const std::string& test) {
  return ErrorOfChild("TEST_FOLDER='" + folder + "'", "DiskCache.DISABLED_" + test);
}

int64_t Lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(DiskCache, KnowsAKeyByAllOfIt) {
  const Place place;
  EXPECT_FALSE(ReadCached("test", "a key"));
  WriteCached("test", "a key", std::string_view("1\0\n2", 4));
  EXPECT_EQ(ReadCached("test", "a key"), std::string("1\0\n2", 4));
  EXPECT_FALSE(ReadCached("test", "a ke"));
  EXPECT_FALSE(ReadCached("other", "a key"));
  WriteCached("test", "a key", "");
  EXPECT_EQ(ReadCached("test", "a key"), "");
}

constexpr const char *kKey = "key\nof two lines", *kContent = "some content";

TEST(DiskCache, DISABLED_ReadsWhatIsDamaged) {
  PrintSaid([] {
    const fs::path path = OnlyFile("test");
    const std::string whole = *cuda::ReadFile(path.string());
    for (size_t at = 0; at < whole.size(); ++at) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 1);
      for (const std::string& text : {whole.substr(0, at), flipped, whole + "x"}) {
        std::ofstream(path, std::ios::binary) << text;
        ASSERT_FALSE(ReadCached("test", kKey));
      }
    }
  });
}

TEST(DiskCache, WhatIsDamagedIsMissingAndSaidOnce) {
  const Place place;
  WriteCached("test", kKey, kContent);
  const std::string path = OnlyFile("test").string();
  const std::string said = SaidBy(cuda::CacheFolder(), "ReadsWhatIsDamaged");
  EXPECT_EQ(Lines(said), 1) << said;
  EXPECT_NE(said.find("ostria: the cache file " + path + " is damaged"), said.npos) << said;
  WriteCached("test", kKey, kContent);
  EXPECT_EQ(ReadCached("test", kKey), kContent);
}

void WriteThrice() {
  PrintSaid([] {
    for (int i = 0; i < 3; ++i) WriteCached("test", kKey, "longer than the room that is left");
    EXPECT_FALSE(ReadCached("test", kKey));
  });
}
TEST(DiskCache, DISABLED_Writes) { WriteThrice(); }
TEST(DiskCache, DISABLED_WritesWithoutRoom) {  // files of no more than 10 bytes
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{10, 10};
  setrlimit(RLIMIT_FSIZE, &limit);
  WriteThrice();
}

TEST(DiskCache, WhereNothingCanBeWrittenNothingFailsAndItIsSaidOnce) {
  const Place place;
  for (const std::string& said : {SaidBy(cuda::CacheFolder(), "WritesWithoutRoom"),
                                  SaidBy("/proc/no/such/folder", "Writes")}) {
    EXPECT_EQ(Lines(said), 1) << said;
    EXPECT_NE(said.find("cannot be written"), said.npos) << said;
    EXPECT_NE(said.find("set OSTRIA_CACHE_DIR"), said.npos) << said;
  }
  EXPECT_TRUE(fs::is_empty(fs::path(cuda::CacheFolder()) / "test"));  // no half-written file
}

TEST(DiskCache, ManyThreadsAndProcessesShareAFolder) {
  const Place place;
  const auto content = [](int of) { return std::string(static_cast<size_t>(1000 + of), 'a'); };
  const auto work = [&](int of) {  // whether every read gave one of what was written, or nothing
    bool good = true;
    for (int i = 0; i < 50; ++i) {
      WriteCached("test", StrCat("key ", i % 3), content(of));
      const auto got = ReadCached("test", StrCat("key ", (i + 1) % 3));
      good =
          good &&
          (!got || (got->size() >= 1000 && *got == content(static_cast<int>(got->size()) - 1000)));
    }
    return good;
  };
  std::vector<pid_t> children;
  for (int c = 0; c < 3; ++c) {
    const pid_t child = fork();
    if (child == 0) _exit(work(c) ? 0 : 1);
    children.push_back(child);
  }
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t) threads.emplace_back([&, t] { EXPECT_TRUE(work(10 + t)); });
  }
  for (pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ReadCached("test", StrCat("key ", i)));
  EXPECT_EQ(std::distance(fs::directory_iterator(fs::path(cuda::CacheFolder()) / "test"), {}), 3);
}

}  // namespace
}  // namespace ostria
