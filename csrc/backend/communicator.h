// SPDX-License-Identifier: Apache-2.0
// What replicas of one program say to each other. csrc/dist implements it over threads of a
// process, shared memory, and sockets; kernels of collective ops find the one of the replica that
// runs them (Current). Every rank makes the same calls in the same order.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/dtype.h"

namespace ostria {

class Event;

enum class ReduceOp : uint8_t { kSum, kMin, kMax };
std::string_view ToString(ReduceOp op);

/// In which order ranks are added. All ranks get the same bits in either.
enum class ReduceOrder : uint8_t {
  kAny,   // whichever is fastest; may depend on the number of ranks
  kTree,  // neighbours first, (0 + 1) + (2 + 3): what 1, 2, 4 and 8 ranks have in common
};

/// One rank of a group. Calls block, and are made by one thread at a time; Abort by any. They throw
/// Error(kDistributed) that names the operation and the rank and host at fault, within `timeout`
/// of the last sign of progress; the group is of no use afterwards. Sizes are elements of `dtype`.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// "local", "shm", "gloo", "hierarchical", "mpi", "nccl".
  virtual std::string_view transport() const = 0;

  /// In place. `what` names the operation to users: "all_reduce of 12 gradients".
  virtual void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                         ReduceOrder order = ReduceOrder::kAny) = 0;
  /// `blocks`, `size()` of `count`: rank r's `out` becomes the reduction of all block r, and may be
  /// that very block.
  virtual void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                             DType dtype, ReduceOp op, ReduceOrder order = ReduceOrder::kAny) = 0;
  /// `data`, `size()` blocks of `bytes`: rank r gives block r, all get all.
  virtual void AllGather(std::string_view what, void* data, int64_t bytes) = 0;
  virtual void Broadcast(std::string_view what, void* data, int64_t bytes, int root) = 0;
  /// Returns when every rank has called it.
  virtual void Barrier(std::string_view what) = 0;

  /// An AllReduce that may run beside the caller, who leaves `data` alone until Wait(slot) returns.
  /// Slots are small numbers. Runs at once unless calls are overlapped (dist/overlapped.h).
  virtual void Start(int slot, std::string_view what, void* data, int64_t count, DType dtype,
                     ReduceOp op, ReduceOrder order = ReduceOrder::kAny);
  /// Returns when all that was started under `slot` is done; throws what it threw.
  virtual void Wait(int slot);
  /// A step failed: returns when nothing that it started touches memory. Waits for the other ranks
  /// as those calls do, and throws nothing: whoever failed says why, then aborts the group.
  virtual void Settle();

  // An AllReduce in pieces, for a rank that computes meanwhile on the only core it has:

  /// Whether this one can. If not, BeginAllReduce does all of it.
  virtual bool has_pieces() const { return false; }
  /// Begins one. No other call is made until Advance has returned true or thrown.
  virtual void BeginAllReduce(std::string_view what, void* data, int64_t count, DType dtype,
                              ReduceOp op, ReduceOrder order = ReduceOrder::kAny);
  /// Goes on as far as it can without waiting for other ranks, or to the end where `wait`. Whether
  /// it is done.
  virtual bool Advance(bool wait);

  // Of devices that compute by themselves, whose kernels put collectives into streams:

  /// What kernels of the device know the group by, on the calling rank; nullptr where all data are
  /// in host memory. What was recorded with one is of no use with another, and goes before it does.
  virtual std::shared_ptr<void> device_handle() const { return nullptr; }
  /// The rank is about to give its device work. Throws what the group failed of.
  virtual void BeginRun() {}
  /// All of it is done when `done` is, which the group watches.
  virtual void EndRun(std::shared_ptr<const Event> /*done*/) {}

  /// Calls in progress and later ones, of every rank that can be reached, throw with `why`. Throws
  /// nothing itself.
  virtual void Abort(const std::string& why) = 0;
  /// How long a call waits for the others.
  virtual void set_timeout(std::chrono::milliseconds timeout) = 0;

  /// Of the replica that runs on the calling thread; nullptr outside of a distributed run.
  static Communicator* Current();
  /// In which order the reductions of that replica's graph add.
  static ReduceOrder CurrentOrder();
  /// Makes `communicator` that of the calling thread, as long as it lives.
  class Scope {
   public:
    explicit Scope(Communicator* communicator, ReduceOrder order = ReduceOrder::kAny);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Communicator* outer_;
    ReduceOrder outer_order_;
  };
};

}  // namespace ostria
