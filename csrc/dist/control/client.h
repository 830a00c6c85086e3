// SPDX-License-Identifier: Apache-2.0
// A process' end of the control channel: the handshake, then one thread that sends heartbeats and
// reads, without any lock of Python's, and calls that other threads make. A failure of a peer ends
// every wait with PeerFailedError and runs the handlers, which abort what hangs in collectives.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "dist/control/messages.h"
#include "dist/control/socket.h"
#include "dist/control/step_clock.h"

namespace ostria::control {

struct ClientOptions {
  std::string host;  // of the store
  int port = 0;
  std::string job;
  uint32_t generation = 1;
  Role role = Role::kRank;
  int rank = 0, world = 1;  // rank -1 for a launcher
  std::string host_name;    // of this process; "": the machine's
  Timers timers;
  // Called every 100 ms by all that waits; what it throws ends the wait.
  std::function<void()> interrupt;
};

class Client {
 public:
  using Handler = std::function<void(const PeerFailure&)>;
  using ms = Timers::ms;

  /// Connects and proves who it is, until timers.join is over. Throws Error(kDistributed) with the
  /// refusal's name where the server knows another job, secret, version, generation or rank.
  Client(ClientOptions options, const Secret& secret);
  /// Without Leave the others are told that this rank failed.
  ~Client();
  Client(const Client&) = delete;

  const ClientOptions& options() const { return options_; }

  // Every call throws PeerFailedError where a failure keeps it from ending, and Error(kDistributed)
  // that says who is missing where its time is over. Any thread may call.

  /// Waits for all ranks (timers.join); returns them in order.
  std::vector<Member> Join(std::vector<std::string> addresses);
  void Set(const std::string& key, const std::string& value);
  /// nullopt: there is none.
  std::optional<std::string> TryGet(const std::string& key);
  /// Waits until there is one.
  std::string Get(const std::string& key, ms timeout);
  /// The same, but nullopt where there is none after `timeout`.
  std::optional<std::string> WaitFor(const std::string& key, ms timeout);
  int64_t Add(const std::string& key, int64_t number);
  /// Returns when every rank has called it.
  void Barrier(const std::string& name, ms timeout);
  /// Returns when every rank has given this fingerprint; otherwise throws on all of them, with the
  /// first of `lines` that differs.
  void Agree(const std::string& name, const std::string& fingerprint,
             const std::vector<std::string>& lines, ms timeout);

  /// Tells with the next heartbeat that this rank entered or left its collective of that number,
  /// and how many steps have ended. Cheap: no system call.
  void Enter(uint64_t number, std::string_view name);
  void Exit();
  /// With the next heartbeat too: this rank is busy with what it alone does, and may take as long
  /// for it as for a first step. "": no longer.
  void SetBusy(std::string_view with);
  void BeginStep();
  /// See StepClock. One that BeginStep did not begin is counted, but not timed.
  void EndStep(bool counts = true, bool opaque = false);
  void Read(std::chrono::nanoseconds waited, std::chrono::nanoseconds ahead);
  void Skip(std::chrono::nanoseconds time);
  /// Asked before each heartbeat, on the channel's own thread, instead of Enter and Exit. Of
  /// several (one for each replica of the process) the one that is furthest behind is told.
  /// `blocked`: nanoseconds in collectives so far; the least of several counts.
  int AddProgressSource(std::function<Progress()> source, std::function<int64_t()> blocked = {});
  /// It does not run any more.
  void RemoveProgressSource(int token);

  /// Tells everybody that this rank fails, before it does. `consequence`: because of another one.
  void PostFailure(const std::string& reason, const std::string& operation, bool consequence);
  /// A launcher's: what it knows about a rank.
  void Report(int rank, const std::string& reason);
  /// All failures so far, the root cause first.
  std::vector<PeerFailure> Failures();
  /// How fast each rank was lately; see Stragglers. Empty before 20 steps.
  std::vector<RankPace> Paces();
  /// The one that ended this generation.
  std::optional<PeerFailure> failure() const;
  /// Waits for one; false where there is none within `timeout`.
  bool WaitForFailure(ms timeout) const;

  /// `handler` runs once, on the channel's own thread: it must not block. At once where a failure
  /// is known. After RemoveHandler it does not run any more.
  int AddHandler(Handler handler);
  void RemoveHandler(int token);

  /// This rank is done. Failures of others no longer reach it.
  void Leave();

 private:
  struct Pending {
    bool done = false, wants_lines = false;
    Reply reply;
  };
  struct Erase {  // however the wait for it ends
    std::map<uint64_t, Pending>& pending;
    uint64_t id;
    ~Erase() { pending.erase(id); }
  };

  void Handshake(const Secret& secret);
  Frame ReadFrame(std::string* buffer, Time deadline);
  void Run();
  bool ReadSome();
  bool WriteSome();
  void Take(const Frame& frame);
  void Lose(PeerFailure failure);
  void Wake() const;
  Heartbeat Beat();
  std::string Where() const;
  enum class Waits : bool { kNo, kYes };  // for other ranks, so that a failure ends it
  Reply Call(Request request, const std::string& op, Waits waits = Waits::kNo, ms timeout = ms(0),
             const std::vector<std::string>* lines = nullptr);
  void Await(std::unique_lock<std::mutex>& lock, const std::string& op, Waits waits, ms timeout,
             const std::function<bool()>& done);

  ClientOptions options_;
  Fd fd_, wake_;
  Welcome server_;
  std::string input_;  // of the channel's thread, like what follows
  std::string output_;
  Time heard_{};

  mutable std::mutex mutex_;  // guards what follows
  mutable std::condition_variable changed_;
  std::string queued_;
  std::map<uint64_t, Pending> pending_;
  uint64_t next_id_ = 1;
  std::optional<Members> members_;
  std::optional<PeerFailure> failure_;
  bool open_ = true, leaving_ = false, stop_ = false;

  struct Source {
    std::function<Progress()> progress;
    std::function<int64_t()> blocked;
  };
  int64_t Blocked() const;

  std::mutex progress_mutex_;  // guards what follows
  Progress progress_;
  StepClock clock_;
  std::map<int, Source> sources_;
  int next_source_ = 0;

  std::mutex handlers_mutex_;  // held while one runs
  std::map<int, Handler> handlers_;
  int next_token_ = 0;
  bool handled_ = false;

  std::thread thread_;
};

}  // namespace ostria::control
