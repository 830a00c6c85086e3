// SPDX-License-Identifier: Apache-2.0
#include "dist/shm_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "dist/fd.h"

namespace ostria {
namespace {

constexpr uint64_t kMagic = 0x32'6d'68'73'72'74'73'6f;  // "ostrshm2"
constexpr int64_t kPage = 4096;

int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// "pid fd token", as rank 0 wrote them; false if the text is anything else.
bool Parse(std::string_view text, int64_t (&numbers)[3]) {
  for (int i = 0; i < 3; ++i) {
    if (i > 0) {
      if (text.empty() || text[0] != ' ') return false;
      text.remove_prefix(1);
    }
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), numbers[i]);
    if (error != std::errc() || numbers[i] < 0) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
  return text.empty();
}

void* Map(int fd, int64_t bytes) {
  void* const base =
      mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    Fail(ErrorCode::kDistributed, "shm: cannot map ", bytes,
         " bytes of shared memory: ", std::strerror(errno),
         "; the limit of the container or `ulimit -v` may be too low");
  }
  return base;
}

}  // namespace

ShmSegment::ShmSegment(int rank, int size, KeyValues& key_values, const ShmOptions& options,
                       std::span<const std::string> labels)
    :  // A slice of a chunk is a cache line at least.
      segment_bytes_(RoundUp(std::max<int64_t>(options.segment_bytes, 64 * size), kPage)) {
  OSTRIA_CHECK(options.segment_bytes > 0 && size > 0 && rank >= 0 && rank < size);
  const int64_t blocks = static_cast<int64_t>(sizeof(RankBlock)) * size;
  buffers_ = RoundUp(RoundUp(sizeof(ShmHeader), alignof(RankBlock)) + blocks, kPage);
  const int64_t bytes = buffers_ + 4 * segment_bytes_ * size;
  const std::string key = StrCat(options.key, "/shm");
  if (rank == 0) {
    Create(size, bytes, key, key_values);
  } else {
    Open(size, bytes, key, key_values, options, labels[0]);
  }
}

ShmSegment::~ShmSegment() {
  CloseFile();
  if (base_ != nullptr) munmap(base_, static_cast<size_t>(bytes_));
}

void ShmSegment::CloseFile() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

RankBlock& ShmSegment::block(int rank) {
  char* const blocks = static_cast<char*>(base_) + RoundUp(sizeof(ShmHeader), alignof(RankBlock));
  return reinterpret_cast<RankBlock*>(blocks)[rank];
}

char* ShmSegment::Buffer(int rank, uint32_t which) {
  return static_cast<char*>(base_) + buffers_ + (4 * rank + which) * segment_bytes_;
}

void ShmSegment::Create(int size, int64_t bytes, const std::string& key, KeyValues& key_values) {
  Fd fd(memfd_create("ostria-shm", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // Sealed: no peer can shrink it under the others, who would get SIGBUS.
  if (fd.get() < 0 || ftruncate(fd.get(), bytes) != 0 ||
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    Fail(ErrorCode::kDistributed, "shm: cannot make ", bytes,
         " bytes of shared memory: ", std::strerror(errno), "; use the transport gloo");
  }
  uint64_t token = 0;
  OSTRIA_CHECK(getrandom(&token, sizeof token, 0) == sizeof token);
  token >>= 1;  // it is written as a signed number
  base_ = Map(fd.get(), bytes);
  bytes_ = bytes;
  ShmHeader& h = header();
  h.magic = kMagic;
  h.token = token;
  h.segment_bytes = segment_bytes_;
  h.size = size;
  fd_ = fd.Release();
  key_values.Set(key, StrCat(getpid(), " ", fd_, " ", token));
}

void ShmSegment::Open(int size, int64_t bytes, const std::string& key, KeyValues& key_values,
                      const ShmOptions& options, const std::string& first) {
  const auto place = key_values.Get(key, options.join_timeout);
  if (!place) {
    Fail(ErrorCode::kDistributed, "shm: ", first, " did not come within ",
         options.join_timeout.count() / 1000.0, " s; see its log");
  }
  int64_t numbers[3];
  if (!Parse(*place, numbers)) {
    Fail(ErrorCode::kDistributed, "shm: the entry '", key, "' of the store is damaged: '",
         place->substr(0, 80), "' is not a process, a file and a number");
  }
  const std::string path = StrCat("/proc/", numbers[0], "/fd/", numbers[1]);
  Fd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.get() < 0) {
    Fail(ErrorCode::kDistributed, "shm: cannot open the shared memory of ", first, ", '", path,
         "': ", std::strerror(errno),
         "; it has ended, or is in another container or of another "
         "user: use the transport gloo");
  }
  struct stat facts {};
  if (fstat(fd.get(), &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size != bytes ||
      (fcntl(fd.get(), F_GET_SEALS) & F_SEAL_SHRINK) == 0) {
    Fail(ErrorCode::kDistributed, "shm: '", path, "' is not the shared memory of this group (",
         facts.st_size, " bytes, not ", bytes,
         "); every rank must run the same release with the "
         "same number of ranks");
  }
  base_ = Map(fd.get(), bytes);
  bytes_ = bytes;
  const ShmHeader& h = header();
  if (h.magic != kMagic || h.token != static_cast<uint64_t>(numbers[2]) || h.size != size ||
      h.segment_bytes != segment_bytes_) {
    munmap(std::exchange(base_, nullptr), static_cast<size_t>(bytes_));
    Fail(ErrorCode::kDistributed, "shm: '", path, "' is the memory of another group; the entry '",
         key, "' of the store is stale");
  }
  fd_ = fd.Release();
}

}  // namespace ostria
