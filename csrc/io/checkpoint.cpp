// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "io/crc32c.h"
#include "io/manifest.h"

namespace ostria {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "ckpt-", kTemporary = ".tmp-", kSuperseded = "superseded-";
constexpr const char *kState = "state.safetensors", *kManifest = "manifest.json", *kKeep = "keep";
constexpr uint64_t kMaxManifest = uint64_t{1} << 30;

std::string PathIn(const std::string& directory, std::string_view name) {
  return (fs::path(directory) / name).string();
}

std::string NameOf(const std::string& path) { return fs::path(path).filename().string(); }

// "ckpt-000123" or "ckpt-000123.1".
bool ParseName(std::string_view name, CheckpointInfo* info) {
  if (!name.starts_with(kPrefix)) return false;
  const char *p = name.data() + kPrefix.size(), *end = name.data() + name.size();
  const auto step = std::from_chars(p, end, info->step);
  if (step.ec != std::errc() || *p == '-') return false;
  if (step.ptr == end) return true;
  if (*step.ptr != '.') return false;
  const auto generation = std::from_chars(step.ptr + 1, end, info->generation);
  return generation.ec == std::errc() && generation.ptr == end && info->generation > 0;
}

std::string FormatName(int64_t step, int64_t generation) {
  char name[64];
  std::snprintf(name, sizeof name, "ckpt-%06lld", static_cast<long long>(step));
  return generation == 0 ? name : StrCat(name, ".", generation);
}

// Holds the directory's lock; where a file system has none, the contract of one writer stands
// alone.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& directory)
      : fd_(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ < 0) FailIo("open", directory, errno);
    while (flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~DirectoryLock() {
    flock(fd_,
          LOCK_UN);  // a process forked meanwhile shares the lock; closing alone would leave it
    close(fd_);
  }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int fd_;
};

void Rename(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) FailIo("rename " + from + " to", to, errno);
}

void RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) FailIo("remove", path, error.value());
}

// Removal is renaming first: a process that dies while it deletes leaves no half checkpoint.
void RemoveCheckpoint(const std::string& directory, const std::string& path) {
  const std::string doomed = PathIn(directory, StrCat(kTemporary, "old-", NameOf(path)));
  RemoveTree(doomed);
  Rename(path, doomed);
  RemoveTree(doomed);
}

void RemoveTemporaries(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> stale;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with(kTemporary))
      stale.push_back(it->path().string());
  }
  if (error) FailIo("list", directory, error.value());
  for (const std::string& path : stale) RemoveTree(path);
}

Manifest ReadManifest(const std::string& checkpoint) {
  const std::string path = PathIn(checkpoint, kManifest);
  return ParseManifest(ReadWholeFile(path, kMaxManifest), path);
}

// Manifests that cannot be read count as absent: pruning must not fail on a damaged checkpoint.
std::optional<Manifest> TryReadManifest(const std::string& checkpoint) {
  try {
    return ReadManifest(checkpoint);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Of the tensor file, for whoever reads it alone.
Metadata StateMetadata(int64_t step) {
  return {{"format", std::string(kManifestFormat)}, {"step", StrCat(step)}};
}

void WriteContent(const std::string& directory, const CheckpointData& data, Manifest manifest) {
  OutputFile state(PathIn(directory, kState));
  WriteTensorFile(state, data.tensors, StateMetadata(data.step));
  state.Sync();
  state.Close();
  for (const auto& [name, value] : data.tensors) {
    const Tensor tensor = value.OnHost();
    manifest.tensors[name] = {tensor.dtype(), tensor.shape(),
                              Crc32c(tensor.raw(), static_cast<size_t>(tensor.bytes()))};
  }
  const std::string text = FormatManifest(manifest);
  OutputFile file(PathIn(directory, kManifest));
  file.Expect(text.size());
  file.Append(text);
  file.Sync();
  file.Close();
  SyncDirectory(directory);
}

void Supersede(const std::string& directory, const CheckpointInfo& newer, const std::string& path,
               std::vector<std::string>* warnings) {
  const std::string aside = PathIn(directory, StrCat(kSuperseded, NameOf(newer.path)));
  RemoveTree(aside);
  Rename(newer.path, aside);
  if (warnings != nullptr) {
    warnings->push_back(StrCat("checkpoint ", newer.path, " is of a later step than ", path,
                               ", which was just saved; it was renamed to ", aside,
                               ", and a resume will not use it"));
  }
}

// Removes what is beyond keep_max, except one checkpoint per keep_every_n_hours, which is marked.
void Prune(const std::string& directory, const CheckpointOptions& options, double started_at) {
  if (options.keep_max == 0) return;
  std::vector<CheckpointInfo> kept, free;
  for (CheckpointInfo& info : ListCheckpoints(directory)) {
    std::error_code ignored;
    const bool marked = fs::exists(PathIn(info.path, kKeep), ignored);
    (marked ? kept : free).push_back(std::move(info));
  }
  const auto limit = static_cast<size_t>(options.keep_max);
  if (free.size() <= limit) return;
  double reference = started_at;
  if (!kept.empty()) {
    if (const auto manifest = TryReadManifest(kept.back().path)) reference = manifest->saved_at;
  }
  for (size_t i = 0; i + limit < free.size(); ++i) {
    const auto manifest = TryReadManifest(free[i].path);
    if (manifest && manifest->saved_at >= reference + options.keep_every_n_hours * 3600) {
      OutputFile(PathIn(free[i].path, kKeep)).Close();
      reference = manifest->saved_at;
    } else {
      RemoveCheckpoint(directory, free[i].path);
    }
  }
}

}  // namespace

std::vector<CheckpointInfo> ListCheckpoints(const std::string& directory) {
  std::vector<CheckpointInfo> found;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    CheckpointInfo info;
    if (!ParseName(it->path().filename().string(), &info)) continue;
    info.path = it->path().string();
    found.push_back(std::move(info));
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    FailIo("list", directory, error.value());
  }
  std::sort(found.begin(), found.end(), [](const CheckpointInfo& a, const CheckpointInfo& b) {
    return a.step != b.step ? a.step < b.step : a.generation < b.generation;
  });
  return found;
}

std::string SaveCheckpoint(const std::string& directory, const CheckpointData& data,
                           const CheckpointOptions& options, std::vector<std::string>* warnings) {
  if (data.step < 0) {
    Fail(ErrorCode::kInvalidArgument, "checkpoint: step ", data.step,
         " is negative; steps count from 0");
  }
  if (options.keep_max < 0 || !(options.keep_every_n_hours > 0)) {
    Fail(ErrorCode::kInvalidArgument, "checkpoint: keep_max ", options.keep_max,
         " and keep_every_n_hours ", options.keep_every_n_hours,
         " were given; keep_max is 0 (keep all) or more, keep_every_n_hours above 0");
  }
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) FailIo("create the directory", directory, error.value());
  const DirectoryLock lock(directory);
  RemoveTemporaries(directory);

  const std::vector<CheckpointInfo> before = ListCheckpoints(directory);
  Manifest manifest;
  manifest.step = data.step;
  manifest.saved_at =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  manifest.started_at = manifest.saved_at;
  if (!before.empty()) {
    if (const auto last = TryReadManifest(before.back().path))
      manifest.started_at = last->started_at;
  }
  manifest.blobs = data.blobs;
  manifest.metadata = data.metadata;
  int64_t generation = 0;
  for (const CheckpointInfo& info : before) {
    if (info.step == data.step) generation = info.generation + 1;
  }
  const double started_at = manifest.started_at;
  const std::string name = FormatName(data.step, generation);
  const std::string path = PathIn(directory, name);
  const std::string temporary = PathIn(directory, StrCat(kTemporary, name));
  try {
    if (!fs::create_directory(temporary, error) && error) {
      FailIo("create the directory", temporary, error.value());
    }
    WriteContent(temporary, data, std::move(manifest));
    Rename(temporary, path);
    SyncDirectory(directory);
  } catch (const Error& e) {
    fs::remove_all(temporary, error);  // gives a full disk its space back
    if (e.code() != ErrorCode::kIo) throw;
    Fail(ErrorCode::kIo, "checkpoint of step ", data.step, " was not saved: ", e.what(),
         before.empty() ? ""
                        : StrCat("; the checkpoint before, ", before.back().path, ", is intact"));
  }

  // The checkpoint is safe from here on: what goes wrong below is worth a warning, not an
  // exception.
  try {
    for (const CheckpointInfo& info : before) {
      if (info.step == data.step) RemoveCheckpoint(directory, info.path);
      if (info.step > data.step) Supersede(directory, info, path, warnings);
    }
    Prune(directory, options, started_at);
  } catch (const Error& e) {
    if (warnings != nullptr) {
      warnings->push_back(
          StrCat("checkpoint ", path, " is saved, but old ones were not removed: ", e.what()));
    }
  }
  return path;
}

CheckpointData LoadCheckpoint(const std::string& path) {
  Manifest manifest = ReadManifest(path);
  CheckpointInfo named;
  if (ParseName(NameOf(path), &named) && named.step != manifest.step) {
    FailCorrupt(PathIn(path, kManifest), 0, "it is of step ", manifest.step,
                ", unlike its directory's name");
  }
  const TensorFileReader reader(PathIn(path, kState));
  CheckpointData data;
  data.step = manifest.step;
  data.blobs = std::move(manifest.blobs);
  data.metadata = std::move(manifest.metadata);
  data.tensors.reserve(manifest.tensors.size());
  for (const TensorEntry& entry : reader.index().entries) {
    const auto expected = manifest.tensors.find(entry.name);
    if (expected == manifest.tensors.end()) {
      FailCorrupt(reader.path(), entry.offset, "the tensor \"", entry.name,
                  "\" is not in the manifest");
    }
    if (expected->second.dtype != entry.dtype || !(expected->second.shape == entry.shape)) {
      FailCorrupt(reader.path(), entry.offset, "the tensor \"", entry.name, "\" is ", entry.dtype,
                  entry.shape, "; the manifest says ", expected->second.dtype,
                  expected->second.shape);
    }
    Tensor tensor = reader.Read(entry);
    if (Crc32c(tensor.raw(), static_cast<size_t>(entry.bytes)) != expected->second.crc32c) {
      FailCorrupt(reader.path(), entry.offset, "the checksum of the tensor \"", entry.name, "\" (",
                  entry.bytes, " bytes) does not fit");
    }
    data.tensors.emplace_back(entry.name, std::move(tensor));
  }
  if (data.tensors.size() != manifest.tensors.size()) {
    FailCorrupt(reader.path(), 8, "it holds ", data.tensors.size(), " tensors; the manifest lists ",
                manifest.tensors.size());
  }
  if (reader.index().metadata != StateMetadata(manifest.step)) {
    FailCorrupt(reader.path(), 8, "its metadata are not those that were written");
  }
  std::sort(data.tensors.begin(), data.tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return data;
}

std::optional<LoadedCheckpoint> LoadLatest(const std::string& directory,
                                           std::vector<std::string>* warnings) {
  // A trainer may remove a checkpoint while it is read here: then look again, a newer one is there.
  for (int attempt = 0;; ++attempt) {
    const std::vector<CheckpointInfo> all = ListCheckpoints(directory);
    if (all.empty()) return std::nullopt;
    std::vector<std::pair<std::string, std::string>> damaged;  // path and why, newest first
    bool vanished = false;
    for (size_t i = all.size(); i-- > 0 && !vanished;) {
      try {
        LoadedCheckpoint loaded{all[i].path, LoadCheckpoint(all[i].path)};
        for (size_t k = 0; warnings != nullptr && k < damaged.size(); ++k) {
          warnings->push_back(
              StrCat("checkpoint ", damaged[k].first,
                     " cannot be used, the one before it is taken: ", damaged[k].second));
        }
        return loaded;
      } catch (const Error& e) {
        if (e.code() != ErrorCode::kDataCorruption && e.code() != ErrorCode::kIo) throw;
        std::error_code ignored;
        vanished = attempt < 10 && !fs::exists(all[i].path, ignored);
        damaged.emplace_back(all[i].path, e.what());
      }
    }
    if (vanished) continue;
    Fail(ErrorCode::kDataCorruption, "no usable checkpoint in ", directory, " (", all.size(),
         " found): checkpoint ", damaged.front().first, " cannot be used: ", damaged.front().second,
         "; restore one from a copy, or choose an empty directory to start from step 0");
  }
}

}  // namespace ostria
