// SPDX-License-Identifier: Apache-2.0
#include "dist/mpi/mpi_wire.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <thread>
#include <utility>

#include "base/check.h"
#include "dist/mpi/mpi_process.h"

namespace ostria {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLook{100};  // between two looks at the store
constexpr int kSpins = 64;          // polls before the first sleep
// A wait sleeps a part of what it has waited: who is a little late costs little, and who is very
// late no core.
constexpr microseconds kLeastSleep{20}, kMostSleep{1000};
constexpr int kPart = 16;
constexpr int kTags = 1 << 14;    // every MPI has at least twice as many
constexpr int kCancels = 1000;    // polls for a receive that is cancelled
constexpr int64_t kSmall = 4096;  // bytes of a message that is copied

std::string Expected(int rank, int size) { return StrCat("rank ", rank, " of ", size); }

// MPI begins only where it will have these ranks: it would hang, or end the process, elsewhere.
void CheckPlace(int rank, int size) {
  const mpi::Place place = mpi::PlaceFromEnvironment();
  if (!place.known) {
    Fail(ErrorCode::kInvalidArgument, "transport 'mpi': this process, ", Expected(rank, size),
         ", was not started by MPI: neither OMPI_COMM_WORLD_RANK nor PMIX_RANK nor PMI_RANK is "
         "set; start it with `mpirun -np ",
         size, "`, or give transport 'auto'");
  }
  const bool sizes = place.size.empty() || place.size == std::to_string(size);
  if (place.rank == std::to_string(rank) && sizes) return;
  Fail(ErrorCode::kInvalidArgument, "transport 'mpi': this replica is ", Expected(rank, size),
       " of the job, but the process is rank ", place.rank, " of ",
       place.size.empty() ? "its world" : place.size,
       " to MPI; start one process per replica with `mpirun -np ", size,
       "` and leave the ranks to it, or give transport 'auto'");
}

}  // namespace

class MpiWire::Request final : public Transfer {
 public:
  Request(int rank, bool receives, void* data, int64_t bytes)
      : Transfer(rank), receives_(receives), data_(static_cast<char*>(data)), bytes_(bytes) {
    if (bytes > kSmall) return;
    own_ = std::make_unique_for_overwrite<char[]>(static_cast<size_t>(bytes));
    if (!receives && bytes > 0) std::memcpy(own_.get(), data, static_cast<size_t>(bytes));
  }

  // Memory that MPI still reads or writes goes out of its hands here. A small message stays with
  // MPI, such as the first one to a rank that did not come. What is large stays where it is, and
  // MPI is left alone: only its own calls would touch that memory.
  ~Request() override {
    if (of_mpi == MPI_REQUEST_NULL || !mpi::LeftBecause().empty()) return;
    std::lock_guard lock(mpi::Calls());
    int done = 0;
    if (receives_) MPI_Cancel(&of_mpi);
    for (int i = 0; i < kCancels && done == 0; ++i) {
      if (MPI_Test(&of_mpi, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) break;
    }
    if (done != 0) return;
    if (own_ != nullptr) {
      mpi::Keep(of_mpi, std::move(own_));
    } else {
      mpi::Leave(StrCat("data ", receives_ ? "from" : "to", " rank ", rank(),
                        " were on their way when their group ended, and MPI cannot take that back; "
                        "start the program again"));
    }
  }

  /// What MPI is given.
  char* memory() { return own_ != nullptr ? own_.get() : data_; }
  /// MPI is done.
  void Finish() {
    if (own_ != nullptr && receives_ && bytes_ > 0)
      std::memcpy(data_, own_.get(), static_cast<size_t>(bytes_));
  }

  MPI_Request of_mpi = MPI_REQUEST_NULL;

 private:
  const bool receives_;
  char* const data_;
  const int64_t bytes_;
  std::unique_ptr<char[]> own_;  // of a small message
};

MpiWire::MpiWire(int rank, int size, std::shared_ptr<KeyValues> key_values,
                 const GroupOptions& options)
    : Wire(rank, size, std::move(key_values), StrCat(options.key, "/mpi"), options) {
  CheckPlace(rank, size);
  WaitForAll(options.join_timeout);
  Connect(options);
}

MpiWire::~MpiWire() {
  if (group_ == MPI_COMM_NULL || aborted_ || !mpi::LeftBecause().empty()) return;
  std::lock_guard lock(mpi::Calls());
  int over = 0;
  if (MPI_Finalized(&over) == MPI_SUCCESS && over == 0) MPI_Comm_free(&group_);
}

// A communicator of the group's own, so that nothing left of an earlier one meets its messages.
void MpiWire::Connect(const GroupOptions& options) {
  // Nobody aborts a wire that is still being made, but another rank may have given up.
  const std::string problem =
      mpi::Begin(options.join_timeout, [&] { return !ReasonOfOthers().empty(); });
  if (!problem.empty()) End(StrCat(label(rank()), ": ", problem));
  MPI_Request request = MPI_REQUEST_NULL;
  {
    std::lock_guard lock(mpi::Calls());
    int world_rank = -1, world_size = -1;
    MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world_size);
    if (world_rank != rank() || world_size != size()) {
      const std::string why =
          StrCat("transport 'mpi': this replica is ", Expected(rank(), size()),
                 " of the job, but the process is ", Expected(world_rank, world_size),
                 " of MPI_COMM_WORLD; start one process per replica with `mpirun -np ", size(),
                 "` and leave the ranks to it");
      Abort(StrCat(label(rank()), ": ", why));
      Fail(ErrorCode::kInvalidArgument, why);
    }
    Check(MPI_Comm_idup(MPI_COMM_WORLD, &group_, &request), -1);
  }
  try {
    Poll(request, -1, options.join_timeout);
  } catch (const Error& e) {
    mpi::Leave(StrCat("a group was not made: ", e.message()));  // MPI would go on making it
    throw;
  }
  std::lock_guard lock(mpi::Calls());
  Check(MPI_Comm_set_errhandler(group_, MPI_ERRORS_RETURN), -1);
}

void MpiWire::Check(int error, int rank) {
  if (error == MPI_SUCCESS) return;
  const std::string text = mpi::ErrorText(error);
  mpi::Leave(StrCat("an earlier call failed: ", text));
  End(StrCat(rank < 0 ? "MPI" : label(rank), rank < 0 ? " failed: " : " cannot be reached: ", text,
             rank < 0 ? "" : "; see its log"));
}

std::unique_ptr<Wire::Transfer> MpiWire::Send(int rank, uint64_t slot, const void* data,
                                              int64_t bytes) {
  OSTRIA_CHECK(bytes <= std::numeric_limits<int>::max());
  auto request = std::make_unique<Request>(rank, false, const_cast<void*>(data), bytes);
  std::lock_guard lock(mpi::Calls());
  Check(MPI_Isend(request->memory(), static_cast<int>(bytes), MPI_BYTE, rank,
                  static_cast<int>(slot % kTags), group_, &request->of_mpi),
        rank);
  return request;
}

std::unique_ptr<Wire::Transfer> MpiWire::Receive(int rank, uint64_t slot, void* data,
                                                 int64_t bytes) {
  OSTRIA_CHECK(bytes <= std::numeric_limits<int>::max());
  auto request = std::make_unique<Request>(rank, true, data, bytes);
  std::lock_guard lock(mpi::Calls());
  Check(MPI_Irecv(request->memory(), static_cast<int>(bytes), MPI_BYTE, rank,
                  static_cast<int>(slot % kTags), group_, &request->of_mpi),
        rank);
  return request;
}

void MpiWire::Wait(Transfer& transfer) {
  auto& request = static_cast<Request&>(transfer);
  Poll(request.of_mpi, transfer.rank(), timeout());
  request.Finish();
}

void MpiWire::Poll(MPI_Request& request, int rank, milliseconds patience) {
  const auto begin = steady_clock::now();
  auto look = begin + kLook;
  bool noted = false;
  for (int polls = 0;; ++polls) {
    int done = 0;
    {
      std::lock_guard lock(mpi::Calls());
      Check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), rank);
    }
    if (done != 0) break;
    ThrowIfAborted();
    const auto now = steady_clock::now();
    if (now - begin >= patience) {
      if (rank >= 0) EndLate(rank);
      End(StrCat("MPI did not connect all ranks within ", patience.count() / 1000.0, " s"));
    }
    if (now >= look) {
      if (rank >= 0 && !noted && now - begin >= patience / 2) {
        NoteLongWait(rank);
        noted = true;
      }
      if (const std::string why = ReasonOfOthers(); !why.empty()) Abort(why);
      look = steady_clock::now() + kLook;
    } else if (polls < kSpins) {
      sched_yield();
    } else {
      const auto waited = std::chrono::duration_cast<microseconds>(now - begin);
      std::this_thread::sleep_for(std::clamp(waited / kPart, kLeastSleep, kMostSleep));
    }
  }
  if (noted) ForgetLongWait();
  CheckPause();
  ThrowIfAborted();
}

}  // namespace ostria
