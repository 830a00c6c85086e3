// SPDX-License-Identifier: Apache-2.0
#include "dist/mpirun.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/distributed/served.h"

extern char** environ;

namespace ostria {
namespace {

using served::Verb;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatience{60'000};

std::string RankProgram() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "dist_rank";
}

std::string Find(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string at = rest.substr(0, colon) + "/" + program;
    if (access(at.c_str(), X_OK) == 0) return at;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return "";
}

// `size` processes of one mpirun, which wait for calls at a socket each.
class Ranks {
 public:
  explicit Ranks(int size) : fds_(static_cast<size_t>(size), -1) {
    try {
      Meet(size);
    } catch (...) {
      End();
      throw;
    }
  }
  ~Ranks() { End(); }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int size() const { return static_cast<int>(fds_.size()); }
  int fd(int rank) const { return fds_[static_cast<size_t>(rank)]; }
  std::string NextKey() { return StrCat("group-", groups_++); }

 private:
  void Meet(int size) {
    std::string name = std::filesystem::temp_directory_path() / "ostria-mpirun-XXXXXX";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (mkdtemp(name.data()) == nullptr)
      Fail(ErrorCode::kInternal, "no folder ", name, ": ", std::strerror(errno));
    folder_ = name;
    const std::string path = folder_ + "/socket";
    if (path.size() >= sizeof address.sun_path)
      Fail(ErrorCode::kInternal, path, " is too long for a socket");
    std::memcpy(address.sun_path, path.c_str(), path.size());
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener_, size) != 0) {
      Fail(ErrorCode::kInternal, "no socket at ", path, ": ", std::strerror(errno));
    }
    Start(size);
    const auto deadline = steady_clock::now() + kPatience;
    for (int i = 0; i < size; ++i) {
      pollfd ready{listener_, POLLIN, 0};
      while (poll(&ready, 1, 100) == 0) {
        if (steady_clock::now() > deadline || waitpid(pid_, nullptr, WNOHANG) == pid_)
          Fail(ErrorCode::kInternal, "mpirun started ", i, " of ", size, " ranks");
      }
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      int rank = -1;
      if (!served::ReadAll(fd, &rank, sizeof rank) || rank < 0 || rank >= size)
        Fail(ErrorCode::kInternal, "a rank of mpirun's does not say which");
      fds_[static_cast<size_t>(rank)] = fd;
    }
  }
  // Ranks end when nobody speaks to them; those that do not are killed.
  void End() {
    close(listener_);
    for (const int fd : fds_) close(fd);
    const auto deadline = steady_clock::now() + kPatience;
    while (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == 0) {
      if (steady_clock::now() > deadline) kill(pid_, SIGKILL);
      std::this_thread::sleep_for(milliseconds(5));
    }
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  void Start(int size) {
    std::vector<std::string> words = {
        "mpirun",     "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np",
        StrCat(size), RankProgram(),         "--serve",         "mpi",       folder_};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    const std::string program = Find("mpirun");
    const int error = posix_spawn(&pid_, program.c_str(), &files, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (error != 0) Fail(ErrorCode::kInternal, "cannot start mpirun: ", std::strerror(error));
  }

  std::vector<int> fds_;
  std::string folder_;
  pid_t pid_ = -1;
  int listener_ = -1;
  int groups_ = 0;
};

class StandIn final : public Communicator {
 public:
  StandIn(int rank, std::shared_ptr<Ranks> ranks, const std::string& key)
      : rank_(rank), ranks_(std::move(ranks)) {
    Say(Verb::kMake, key, 0, nullptr, 0);
  }
  ~StandIn() override {
    try {
      Say(Verb::kDrop, "", 0, nullptr, 0);
    } catch (const Error&) {  // it is gone already
    }
  }
  int rank() const override { return rank_; }
  int size() const override { return ranks_->size(); }
  std::string_view transport() const override { return "mpi"; }

  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder order) override {
    Say(Verb::kAllReduce, what, count, data, count * SizeOf(dtype), dtype, op, order);
  }
  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder order) override {
    const int64_t bytes = count * SizeOf(dtype);
    std::vector<char> data(static_cast<const char*>(blocks),
                           static_cast<const char*>(blocks) + size() * bytes);
    Say(Verb::kReduceScatter, what, count, data.data(), size() * bytes, dtype, op, order);
    std::copy_n(data.data() + rank() * bytes, bytes, static_cast<char*>(out));
  }
  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    Say(Verb::kAllGather, what, bytes, data, size() * bytes);
  }
  void Broadcast(std::string_view what, void* data, int64_t bytes, int root) override {
    Say(Verb::kBroadcast, what, bytes, data, bytes, DType::kUInt8, ReduceOp::kSum,
        ReduceOrder::kAny, root);
  }
  void Barrier(std::string_view what) override { Say(Verb::kBarrier, what, 0, nullptr, 0); }
  void Abort(const std::string& why) override { Say(Verb::kAbort, why, 0, nullptr, 0); }
  void set_timeout(milliseconds timeout) override {
    Say(Verb::kTimeout, "", timeout.count(), nullptr, 0);
  }

 private:
  void Say(Verb verb, std::string_view what, int64_t count, void* data, int64_t bytes,
           DType dtype = DType::kUInt8, ReduceOp op = ReduceOp::kSum,
           ReduceOrder order = ReduceOrder::kAny, int root = 0) {
    served::Call call{};
    call.verb = verb;
    call.root = root;
    call.count = count;
    call.bytes = bytes;
    call.dtype = dtype;
    call.op = op;
    call.order = order;
    std::memcpy(call.what, what.data(), std::min(what.size(), sizeof call.what - 1));
    const int fd = ranks_->fd(rank_);
    served::Answer answer{};
    if (!served::WriteAll(fd, &call, sizeof call) || !served::WriteAll(fd, data, bytes) ||
        !served::ReadAll(fd, &answer, sizeof answer)) {
      Fail(ErrorCode::kInternal, "the process of rank ", rank_, " is gone");
    }
    if (answer.failed == 0) {
      if (!served::ReadAll(fd, data, answer.bytes)) Fail(ErrorCode::kInternal, "half an answer");
      return;
    }
    std::string text(static_cast<size_t>(answer.bytes), ' ');
    served::ReadAll(fd, text.data(), answer.bytes);
    throw Error(ErrorCode::kDistributed, text);
  }

  const int rank_;
  const std::shared_ptr<Ranks> ranks_;
};

}  // namespace

std::string WhyNoMpirun() {
#if defined(__SANITIZE_THREAD__)
  return "Open MPI was not built for the thread sanitizer, which reports its threads";
#else
  if (Find("mpirun").empty()) return "no mpirun here (openmpi-bin)";
  if (access(RankProgram().c_str(), X_OK) != 0) return "dist_rank was not built";
  return "";
#endif
}

std::vector<std::unique_ptr<Communicator>> OverMpirun(int size) {
  static std::shared_ptr<Ranks> ranks;
  if (ranks == nullptr || ranks->size() != size) {
    ranks.reset();
    ranks = std::make_shared<Ranks>(size);
  }
  const std::string key = ranks->NextKey();
  std::vector<std::unique_ptr<Communicator>> group(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  std::vector<std::exception_ptr> errors(group.size());
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      try {
        group[static_cast<size_t>(r)] = std::make_unique<StandIn>(r, ranks, key);
      } catch (...) {
        errors[static_cast<size_t>(r)] = std::current_exception();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::exception_ptr& error : errors) {
    if (error != nullptr) std::rethrow_exception(error);
  }
  return group;
}

}  // namespace ostria
