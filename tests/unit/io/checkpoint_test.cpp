// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "io/manifest.h"
#include "io_testing.h"

namespace ostria {
namespace {

namespace fs = std::filesystem;
using testing::ErrorText;
using testing::Slurp;
using testing::Spill;
using testing::TempDir;

// Every number in the state says which step it belongs to.
CheckpointData State(int64_t step, int64_t numel = 1000) {
  CheckpointData data;
  data.step = step;
  Tensor weights = Tensor::Empty(DType::kInt64, {numel});
  for (int64_t i = 0; i < numel; ++i) weights.data<int64_t>()[i] = step * 1'000'000 + i;
  data.tensors = {{"dense/kernel", weights}, {"loss_scale", Tensor::Scalar(DType::kFloat32, 0.5)}};
  data.blobs = {{"iterator", StrCat("{\"position\": ", step, "}")},
                {"raw", std::string("\0\xff\x80", 3)}};
  data.metadata = {{"note", "k\xc3\xa4se \"quoted\"\n"}};
  return data;
}

void ExpectState(const CheckpointData& data, int64_t step, int64_t numel = 1000) {
  const CheckpointData expected = State(step, numel);
  EXPECT_EQ(data.step, step);
  EXPECT_EQ(data.blobs, expected.blobs);
  EXPECT_EQ(data.metadata, expected.metadata);
  ASSERT_EQ(data.tensors.size(), expected.tensors.size());
  for (size_t i = 0; i < data.tensors.size(); ++i) {
    EXPECT_EQ(data.tensors[i].first, expected.tensors[i].first);
    const Tensor &got = data.tensors[i].second, &want = expected.tensors[i].second;
    EXPECT_EQ(got.dtype(), want.dtype());
    ASSERT_EQ(got.shape(), want.shape());
    EXPECT_EQ(std::memcmp(got.raw(), want.raw(), static_cast<size_t>(want.bytes())), 0);
  }
}

std::vector<std::string> Names(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void FlipByte(const std::string& path, size_t from_end) {
  std::string bytes = Slurp(path);
  bytes[bytes.size() - from_end] ^= 0x10;
  Spill(path, bytes);
}

TEST(Checkpoint, RoundTripAndLayout) {
  TempDir dir;
  const std::string path = SaveCheckpoint(dir / "a/checkpoints", State(123));
  EXPECT_EQ(path, dir / "a/checkpoints/ckpt-000123");
  EXPECT_EQ(Names(path), (std::vector<std::string>{"manifest.json", "state.safetensors"}));
  ExpectState(LoadCheckpoint(path), 123);
  std::vector<std::string> warnings;
  const auto latest = LoadLatest(dir / "a/checkpoints", &warnings);
  ASSERT_TRUE(latest);
  EXPECT_EQ(latest->path, path);
  EXPECT_TRUE(warnings.empty());
  EXPECT_FALSE(LoadLatest(dir / "absent", &warnings));
}

TEST(Checkpoint, KeepsTheNewest) {
  TempDir dir;
  for (int step : {5, 10, 999'999, 1'000'000})
    SaveCheckpoint(dir.path(), State(step), {.keep_max = 2});
  EXPECT_EQ(Names(dir.path()), (std::vector<std::string>{"ckpt-1000000", "ckpt-999999"}));
  EXPECT_EQ(ListCheckpoints(dir.path()).back().step, 1'000'000);
  for (int step : {1'000'001, 1'000'002}) SaveCheckpoint(dir.path(), State(step), {.keep_max = 0});
  EXPECT_EQ(Names(dir.path()).size(), 4u);
  EXPECT_NE(ErrorText(ErrorCode::kInvalidArgument,
                      [&] { SaveCheckpoint(dir.path(), State(1), {.keep_max = -1}); }),
            "");
  EXPECT_NE(ErrorText(ErrorCode::kInvalidArgument, [&] { SaveCheckpoint(dir.path(), State(-1)); }),
            "");
}

TEST(Checkpoint, OnePerInterval) {
  TempDir dir;
  // An interval far below the time a save takes: each one that would be pruned is due.
  for (int step = 1; step <= 4; ++step) {
    SaveCheckpoint(dir.path(), State(step), {.keep_max = 1, .keep_every_n_hours = 1e-12});
  }
  EXPECT_EQ(ListCheckpoints(dir.path()).size(), 4u);
  EXPECT_TRUE(fs::exists(dir / "ckpt-000002/keep"));
  // From here on the interval is long: new ones go, those that were kept stay.
  for (int step = 5; step <= 8; ++step) SaveCheckpoint(dir.path(), State(step), {.keep_max = 1});
  EXPECT_EQ(Names(dir.path()),
            (std::vector<std::string>{"ckpt-000001", "ckpt-000002", "ckpt-000003", "ckpt-000008"}));
}

TEST(Checkpoint, SavingAStepAgainReplacesIt) {
  TempDir dir;
  SaveCheckpoint(dir.path(), State(7, 10));
  EXPECT_EQ(SaveCheckpoint(dir.path(), State(7, 20)), dir / "ckpt-000007.1");
  EXPECT_EQ(Names(dir.path()), std::vector<std::string>{"ckpt-000007.1"});
  EXPECT_EQ(SaveCheckpoint(dir.path(), State(7, 30)), dir / "ckpt-000007.2");
  ExpectState(LoadLatest(dir.path(), nullptr)->data, 7, 30);
}

TEST(Checkpoint, ARewoundRunSupersedesLaterSteps) {
  TempDir dir;
  for (int step : {100, 200, 300}) SaveCheckpoint(dir.path(), State(step));
  std::vector<std::string> warnings;
  SaveCheckpoint(dir.path(), State(250), {.keep_max = 1}, &warnings);
  EXPECT_EQ(Names(dir.path()), (std::vector<std::string>{"ckpt-000250", "superseded-ckpt-000300"}));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0], "checkpoint " + (dir / "ckpt-000300") + " is of a later step than " +
                             (dir / "ckpt-000250") + ", which was just saved; it was renamed to " +
                             (dir / "superseded-ckpt-000300") + ", and a resume will not use it");
  ExpectState(LoadLatest(dir.path(), nullptr)->data, 250);
}

TEST(Checkpoint, DamageFallsBackWithAWarning) {
  TempDir dir;
  SaveCheckpoint(dir.path(), State(1));
  SaveCheckpoint(dir.path(), State(2));
  SaveCheckpoint(dir.path(), State(3));
  FlipByte(dir / "ckpt-000003/state.safetensors", 100);
  fs::remove(dir / "ckpt-000002/manifest.json");
  std::vector<std::string> warnings;
  const auto latest = LoadLatest(dir.path(), &warnings);
  ASSERT_TRUE(latest);
  ExpectState(latest->data, 1);
  ASSERT_EQ(warnings.size(), 2u);
  const std::string state = dir / "ckpt-000003/state.safetensors";
  EXPECT_EQ(warnings[0].find("checkpoint " + (dir / "ckpt-000003") +
                             " cannot be used, the one before it is taken: " + state +
                             ": damaged at byte "),
            0u)
      << warnings[0];
  EXPECT_NE(
      warnings[0].find("the checksum of the tensor \"dense/kernel\" (8000 bytes) does not fit"),
      std::string::npos)
      << warnings[0];
  EXPECT_NE(warnings[1].find("No such file or directory"), std::string::npos) << warnings[1];

  FlipByte(dir / "ckpt-000001/manifest.json", 60);
  const std::string text =
      ErrorText(ErrorCode::kDataCorruption, [&] { LoadLatest(dir.path(), &warnings); });
  EXPECT_EQ(text.find("no usable checkpoint in " + dir.path() + " (3 found): "), 0u) << text;
}

TEST(Checkpoint, MixedUpFilesAreDamage) {
  TempDir dir;
  SaveCheckpoint(dir.path(), State(1));
  SaveCheckpoint(dir.path(), State(2));
  SaveCheckpoint(dir.path(), State(3, 10));
  const auto load = [&](int step) {
    return ErrorText(ErrorCode::kDataCorruption,
                     [&] { LoadCheckpoint(dir / StrCat("ckpt-00000", step)); });
  };
  const auto copy = [&](const char* file, int from, int to) {
    fs::copy_file(dir / StrCat("ckpt-00000", from, "/", file),
                  dir / StrCat("ckpt-00000", to, "/", file), fs::copy_options::overwrite_existing);
  };
  copy("state.safetensors", 1, 2);
  EXPECT_NE(load(2).find("checksum of the tensor \"dense/kernel\""), std::string::npos);
  copy("state.safetensors", 3, 2);
  EXPECT_NE(load(2).find("is int64[10]; the manifest says int64[1000]"), std::string::npos)
      << load(2);
  copy("manifest.json", 1, 3);
  EXPECT_EQ(load(3), (dir / "ckpt-000003/manifest.json") +
                         ": damaged at byte 0: it is of step 1, unlike its directory's name");
}

TEST(Checkpoint, LeftoversOfADeadProcessGoAway) {
  TempDir dir;
  SaveCheckpoint(dir.path(), State(1));
  fs::create_directories(dir / ".tmp-ckpt-000002");
  Spill(dir / ".tmp-ckpt-000002/state.safetensors", "half a fi");
  ExpectState(LoadLatest(dir.path(), nullptr)->data, 1);
  SaveCheckpoint(dir.path(), State(3));
  EXPECT_EQ(Names(dir.path()), (std::vector<std::string>{"ckpt-000001", "ckpt-000003"}));
}

TEST(Checkpoint, NoSpaceLeavesTheOneBefore) {
  TempDir dir;
  SaveCheckpoint(dir.path(), State(1));
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, SIG_IGN);
  const rlimit small{200'000, before.rlim_max};  // stands in for a full disk
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string text =
      ErrorText(ErrorCode::kIo, [&] { SaveCheckpoint(dir.path(), State(2, 100'000)); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(text.find("checkpoint of step 2 was not saved: cannot write "), 0u) << text;
  EXPECT_NE(text.find(" more bytes are needed; "), std::string::npos) << text;
  EXPECT_NE(text.find("free space or choose a directory on another disk; the checkpoint before, " +
                      (dir / "ckpt-000001") + ", is intact"),
            std::string::npos)
      << text;
  EXPECT_EQ(Names(dir.path()), std::vector<std::string>{"ckpt-000001"});
  ExpectState(LoadLatest(dir.path(), nullptr)->data, 1);
}

// A child saves step after step, each twice, and is killed at a random moment of about one save's
// length; what is there afterwards must load without a warning and hold whatever save had returned.
TEST(Checkpoint, KilledAtAnyPoint) {
  TempDir dir;
  const auto start = std::chrono::steady_clock::now();
  SaveCheckpoint(dir.path(), State(1, 20'000), {.keep_max = 1});
  const auto one_save = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  std::mt19937 random(7);
  int64_t last = 1;
  for (int round = 0; round < 40; ++round) {
    int done[2];
    ASSERT_EQ(pipe(done), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        for (int64_t step = last + 1;; ++step) {
          SaveCheckpoint(dir.path(), State(step, 20'000), {.keep_max = 1});
          if (write(done[1], "1", 1) != 1) _exit(1);
          SaveCheckpoint(dir.path(), State(step, 20'000), {.keep_max = 1});
        }
      } catch (const Error&) {
        _exit(1);
      }
    }
    close(done[1]);
    int64_t reported = last;
    char byte;
    if (round % 2 == 1 && read(done[0], &byte, 1) == 1) ++reported;
    usleep(static_cast<useconds_t>(random() % static_cast<uint64_t>(one_save.count() * 2 + 1)));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "the child could not save";
    while (read(done[0], &byte, 1) == 1) ++reported;
    close(done[0]);
    std::vector<std::string> warnings;
    const auto latest = LoadLatest(dir.path(), &warnings);
    EXPECT_TRUE(warnings.empty()) << warnings[0];
    ASSERT_TRUE(latest);
    ASSERT_GE(latest->data.step, reported);
    last = latest->data.step;
    ExpectState(latest->data, last, 20'000);
  }
  EXPECT_GE(last, 21);  // every second round waited for one save at least
}

TEST(Manifest, RoundTrip) {
  Manifest m;
  m.step = 12;
  m.saved_at = 1.5e9 + 0.25;
  m.started_at = 1.4e9;
  m.tensors["a"] = {DType::kBFloat16, {2, 3}, 0xffffffff};
  m.tensors["b"] = {DType::kBool, {}, 0};
  for (int n = 0; n < 8; ++n) m.blobs[StrCat("b", n)] = std::string(static_cast<size_t>(n), '\xfe');
  m.metadata = {{"k", "v"}, {"", "\x01"}};
  const Manifest back = ParseManifest(FormatManifest(m), "m");
  EXPECT_EQ(back.step, 12);
  EXPECT_EQ(back.saved_at, m.saved_at);
  EXPECT_EQ(back.started_at, m.started_at);
  EXPECT_EQ(back.blobs, m.blobs);
  EXPECT_EQ(back.metadata, m.metadata);
  ASSERT_EQ(back.tensors.size(), 2u);
  EXPECT_EQ(back.tensors.at("a").dtype, DType::kBFloat16);
  EXPECT_EQ(back.tensors.at("a").shape, (Shape{2, 3}));
  EXPECT_EQ(back.tensors.at("a").crc32c, 0xffffffffu);
  EXPECT_EQ(back.tensors.at("b").shape.rank(), 0);
}

TEST(Manifest, RejectsWithItsMessage) {
  const auto reject = [](std::string body) {
    const std::string text = internal::SealManifest(std::move(body));
    return ErrorText(ErrorCode::kDataCorruption, [&] { ParseManifest(text, "m"); });
  };
  const std::string start = "{\"format\": \"ostria-checkpoint 1\", \"step\": 1, \"tensors\": {";
  EXPECT_EQ(reject("{\"format\": \"ostria-checkpoint 2\""),
            "m: damaged at byte 32: format \"ostria-checkpoint 2\" is unknown; \"ostria-checkpoint "
            "1\" is "
            "accepted");
  EXPECT_EQ(reject("{\"step\": 1"),
            "m: damaged at byte 0: the manifest needs format, step and tensors");
  EXPECT_NE(reject(start + "\"a\": {\"dtype\": \"float99\"}}").find("unknown dtype \"float99\""),
            std::string::npos);
  EXPECT_NE(reject(start + "\"a\": {}}").find("a tensor needs dtype, shape and crc32c"),
            std::string::npos);
  EXPECT_NE(
      reject(start + "}, \"blobs\": {\"a\": {\"base64\": \"A===\"}}").find("valid \"base64\""),
      std::string::npos);
  EXPECT_NE(reject(start + "}, \"blobs\": {\"a\": {\"text\": \"\"}, \"a\": {\"text\": \"\"}}")
                .find("occurs twice"),
            std::string::npos);
  EXPECT_EQ(ErrorText(ErrorCode::kDataCorruption, [] { ParseManifest("{}", "m"); }),
            "m: damaged at byte 0: the manifest does not end with its checksum");
}

}  // namespace
}  // namespace ostria
