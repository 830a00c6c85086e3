// SPDX-License-Identifier: Apache-2.0
#include "dist/key_values.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class InProcess final : public KeyValues {
 public:
  void Set(std::string_view key, std::string_view value) override {
    std::lock_guard lock(mutex_);
    values_[std::string(key)] = value;
    set_.notify_all();
  }
  std::optional<std::string> Get(std::string_view key, milliseconds timeout) override {
    std::unique_lock lock(mutex_);
    const std::string name(key);
    const bool there = set_.wait_for(lock, timeout, [&] { return values_.contains(name); });
    return there ? std::optional(values_[name]) : std::nullopt;
  }

 private:
  std::mutex mutex_;
  std::condition_variable set_;
  std::map<std::string, std::string> values_;
};

class Folder final : public KeyValues {
 public:
  explicit Folder(std::string folder) : folder_(std::move(folder)) {}

  // Written beside its place and renamed, so that a reader sees all of it or nothing.
  void Set(std::string_view key, std::string_view value) override {
    static std::atomic<int> count{0};
    const std::string path = Path(key), draft = StrCat(path, ".", getpid(), ".", ++count);
    const int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) Refuse("write", draft);
    const bool whole = write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size());
    if (close(fd) != 0 || !whole || rename(draft.c_str(), path.c_str()) != 0) Refuse("write", path);
  }

  std::optional<std::string> Get(std::string_view key, milliseconds timeout) override {
    const auto deadline = steady_clock::now() + timeout;
    const std::string path = Path(key);
    for (;;) {
      if (const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC); fd >= 0) {
        std::string value;
        char part[4096];
        ssize_t n;
        while ((n = read(fd, part, sizeof part)) > 0) value.append(part, static_cast<size_t>(n));
        close(fd);
        if (n < 0) Refuse("read", path);
        return value;
      }
      if (errno != ENOENT) Refuse("read", path);
      if (steady_clock::now() >= deadline) return std::nullopt;
      std::this_thread::sleep_for(milliseconds(2));
    }
  }

 private:
  // Letters, digits and a few signs stand for themselves, so no key leaves the folder.
  std::string Path(std::string_view key) const {
    std::string name = "key-";
    for (const char c : key) {
      const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      if (plain || c == '-' || c == '_') {
        name += c;
      } else {
        constexpr char kDigits[] = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(c);
        name += {'%', kDigits[byte / 16], kDigits[byte % 16]};
      }
    }
    return StrCat(folder_, "/", name);
  }
  [[noreturn]] static void Refuse(const char* verb, const std::string& path) {
    Fail(ErrorCode::kDistributed, "cannot ", verb, " '", path,
         "', where ranks meet: ", std::strerror(errno),
         "; give a folder that every rank can write");
  }

  std::string folder_;
};

}  // namespace

std::shared_ptr<KeyValues> MakeInProcessKeyValues() { return std::make_shared<InProcess>(); }
std::shared_ptr<KeyValues> MakeFolderKeyValues(std::string folder) {
  return std::make_shared<Folder>(std::move(folder));
}

}  // namespace ostria
