// SPDX-License-Identifier: Apache-2.0
#include "dist/mpi/mpi_process.h"

#include <dlfcn.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "base/str_cat.h"

namespace ostria::mpi {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatienceAtTheEnd{10'000};

struct Process {
  std::mutex begin;  // held while MPI begins
  bool begun = false;
  std::mutex calls;
  std::vector<std::pair<MPI_Request, std::unique_ptr<char[]>>> kept;  // guarded by calls
  std::mutex mutex;                                                   // guards what follows
  std::string left;
};
// Never destroyed: the end of the program asks it.
Process& Own() {
  static auto* process = new Process;
  return *process;
}

// Of one call in a thread of its own, which outlives a caller that gave up.
struct Outcome {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  int error = 0;
};

// Calls `call`, for at most `patience`: true if it came back, with what it returned in `error`.
bool CallWithin(milliseconds patience, const std::function<bool()>& ended,
                std::function<int()> call, int* error) {
  const auto outcome = std::make_shared<Outcome>();
  std::thread([outcome, call = std::move(call)] {
    const int result = call();
    std::lock_guard lock(outcome->mutex);
    outcome->done = true;
    outcome->error = result;
    outcome->changed.notify_all();
  }).detach();
  const auto deadline = steady_clock::now() + patience;
  std::unique_lock lock(outcome->mutex);
  while (!outcome->done && steady_clock::now() < deadline && !ended()) {
    outcome->changed.wait_for(lock, milliseconds(100));  // `ended` asks the store
  }
  *error = outcome->error;
  return outcome->done;
}

// Open MPI opens plug-ins that expect its symbols to be there for all.
void ShowSymbolsToPlugins() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&MPI_Init_thread), &info) != 0 && info.dli_fname != nullptr) {
    dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
  }
}

// MPI_Finalize meets all ranks. A program that failed does not wait for them, and neither does one
// whose group failed: others may be dead.
void EndAtExit(int status, void* /*unused*/) {
  if (status != 0 || !LeftBecause().empty()) return;
  int ended = 0;
  if (MPI_Finalized(&ended) != MPI_SUCCESS || ended != 0) return;
  int error = 0;
  if (CallWithin(
          kPatienceAtTheEnd, [] { return false; }, [] { return MPI_Finalize(); }, &error)) {
    return;
  }
  std::fprintf(stderr,
               "transport 'mpi': other ranks did not come to MPI_Finalize within %lld s; this "
               "process ends without it\n",
               static_cast<long long>(kPatienceAtTheEnd.count() / 1000));
  std::fflush(nullptr);
  _exit(status);  // the thread is still in MPI, so nothing may be taken down around it
}

const char* Variable(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  }
  return "";
}

}  // namespace

std::mutex& Calls() { return Own().calls; }

Place PlaceFromEnvironment() {
  Place place;
  place.rank = Variable({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"});
  place.size = Variable({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"});
  place.known = !place.rank.empty();
  return place;
}

std::string Begin(milliseconds patience, const std::function<bool()>& ended) {
  Process& own = Own();
  std::lock_guard lock(own.begin);
  if (std::string why = LeftBecause(); !why.empty()) return why;
  if (own.begun) return "";
  ShowSymbolsToPlugins();
  int there = 0, over = 0, level = MPI_THREAD_SINGLE;
  MPI_Initialized(&there);
  MPI_Finalized(&over);
  if (over != 0) return "the program has called MPI_Finalize, and MPI begins once in a process";
  if (there == 0) {
    int error = MPI_SUCCESS;
    const auto begin = [] {
      int got = 0;
      return MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &got);
    };
    if (!CallWithin(patience, ended, begin, &error)) {
      const std::string why =
          ended() ? "another rank had given up when MPI began here; start the program again"
                  : StrCat("MPI_Init_thread did not return within ", patience.count() / 1000.0,
                           " s; see the log of every rank");
      Leave(why);
      return why;
    }
    if (error != MPI_SUCCESS) {
      Leave(StrCat("MPI_Init_thread failed: ", error));
      return LeftBecause();
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    on_exit(&EndAtExit, nullptr);
  }
  MPI_Query_thread(&level);
  if (level < MPI_THREAD_SERIALIZED) {
    return "MPI was begun for one thread, but training calls it from several, one at a time; begin "
           "it with MPI_THREAD_SERIALIZED or more, or leave that to Ostria";
  }
  own.begun = true;
  return "";
}

void Keep(MPI_Request request, std::unique_ptr<char[]> memory) {
  auto& kept = Own().kept;
  std::erase_if(kept, [](auto& message) {
    int done = 0;
    return MPI_Test(&message.first, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done != 0;
  });
  kept.emplace_back(request, std::move(memory));
}

void Leave(const std::string& why) {
  Process& own = Own();
  std::lock_guard lock(own.mutex);
  if (own.left.empty()) own.left = why;
}

std::string LeftBecause() {
  Process& own = Own();
  std::lock_guard lock(own.mutex);
  return own.left;
}

std::string ErrorText(int error) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(error, text, &length) != MPI_SUCCESS) return StrCat("error ", error);
  return std::string(text, static_cast<size_t>(length));
}

}  // namespace ostria::mpi
