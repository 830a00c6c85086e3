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
  fs::path OnlyFile(const std::string& kind) const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(path_ / kind)) files.push_back(entry.path());
    EXPECT_EQ(files.size(), 1u);
    return files[0];
  }

 private:
  std::string before_;
  fs::path path_;
};

// What the process says on stderr, in a child so that nothing was said before; its exit status is 0
// when `body` returned true.
std::string SaidBy(const std::function<bool()>& body) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    _exit(body() ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char part[512];
  for (ssize_t got = 0; (got = read(ends[0], part, sizeof part)) > 0;) {
    text.append(part, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << text;
  return text;
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

TEST(DiskCache, WhatIsDamagedIsMissingAndSaidOnce) {
  const Place place;
  const std::string key = "key\nof two lines", content = "some content";
  WriteCached("test", key, content);
  const fs::path path = place.OnlyFile("test");
  const std::string whole = *cuda::ReadFile(path.string());
  const std::string said = SaidBy([&] {
    bool missing = true;
    for (size_t at = 0; at < whole.size(); ++at) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 1);
      for (const std::string& text : {whole.substr(0, at), flipped, whole + "x"}) {
        std::ofstream(path, std::ios::binary) << text;
        missing = missing && !ReadCached("test", key);
      }
    }
    return missing;
  });
  EXPECT_EQ(Lines(said), 1) << said;
  EXPECT_NE(said.find("ostria: the cache file " + path.string() + " is damaged"), said.npos)
      << said;
  WriteCached("test", key, content);
  EXPECT_EQ(ReadCached("test", key), content);
}

TEST(DiskCache, WhereNothingCanBeWrittenNothingFailsAndItIsSaidOnce) {
  const auto no_room = [] {  // files of no more than 10 bytes
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10, 10};
    setrlimit(RLIMIT_FSIZE, &limit);
  };
  const Place place;
  for (const bool full : {true, false}) {
    const std::string said = SaidBy([&] {
      if (full)
        no_room();
      else
        setenv("OSTRIA_CACHE_DIR", "/proc/no/such/folder", 1);
      for (int i = 0; i < 3; ++i) WriteCached("test", "a key", "longer than the room that is left");
      return !ReadCached("test", "a key");
    });
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
