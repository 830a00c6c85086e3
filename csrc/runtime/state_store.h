// SPDX-License-Identifier: Apache-2.0
// Where variables live (decision B2): chunks per (device, dtype, class), in creation order,
// 256-byte aligned, padding always zero, never moved. Optimizer slots mirror the chunk of their
// variables: equal offsets for weight, gradient and slots. A chunk goes when its last Variable
// goes. A Variable that replicas share has a copy on each one's device, at equal offsets too; a
// slot may have a part on each instead (Parts), which lie behind each other in a chunk of others.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"

namespace ostria {

enum class StateClass : uint8_t { kTrainable, kOther };

/// What the copies of a variable that replicas share mean.
enum class Copies : uint8_t {
  kEqual,   // one value: every replica writes the same
  kSummed,  // the value is their sum: a replica adds its own part, as to the count of a metric
};

class ReplicaGroup;
class StateChunk;

/// How replicas share a variable of which each holds a part alone: n elements in their order, as
/// `total` parts of one size, the last of which may overlap so that none is padded.
struct Parts {
  int total = 0;                      // over all processes; 0: every replica holds all of it
  int first = 0;                      // which part the first replica of this process holds
  std::weak_ptr<ReplicaGroup> group;  // the replicas of this process
  bool any() const { return total > 0; }
  int64_t SizeOf(int64_t n) const { return (n + total - 1) / total; }
  /// The element of `n` that part `i` begins with.
  int64_t BeginOf(int i, int64_t n) const {
    const int64_t size = SizeOf(n);
    return i * size < n - size ? i * size : n - size;
  }
  bool IsLike(const Parts& other) const { return total == other.total && first == other.first; }
};

/// When state was written: a count of all writes in the process, so that the usual question,
/// whether anything was written since, is one load.
class StateClock {
 public:
  static int64_t Now() { return now_.load(std::memory_order_acquire); }
  static int64_t Tick() { return now_.fetch_add(1, std::memory_order_acq_rel) + 1; }

 private:
  static inline std::atomic<int64_t> now_{0};
};

/// One named piece of state. Written only by executables and Assign. Not thread-safe. One that no
/// replicas share has one copy, number 0, which is meant where no other is named.
class Variable {
 public:
  /// In the open chunk of (device, dtype, class). `initial` gives dtype and shape. Throws Error
  /// when the name is empty, or a bool is to be summed. Names need not be unique here; modules and
  /// checkpoints check that.
  static std::shared_ptr<Variable> Create(std::string name, const Tensor& initial, StateClass cls,
                                          DeviceId device = {}, Copies copies = Copies::kEqual);
  /// A slot `kind` ("adam_m") of `of`, at the same offset of a chunk that mirrors of's; filled with
  /// `fill`. Its dtype is of's. With `parts` each replica of their group holds a part of it.
  static std::shared_ptr<Variable> CreateSlot(const std::shared_ptr<Variable>& of,
                                              std::string_view kind, double fill,
                                              const Parts& parts = {});
  ~Variable();
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

  int64_t id() const { return id_; }  // unique in the process, increasing
  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  StateClass state_class() const { return class_; }
  Copies copies() const { return copies_; }
  int num_copies() const { return 1 + static_cast<int>(others_.size()); }
  /// Where each copy is a part of the value.
  const Parts& parts() const { return parts_; }
  /// Of what one copy holds.
  Shape copy_shape() const;
  DeviceId device(int copy = 0) const;
  bool trainable = true;

  int64_t chunk_id() const;                   // unique in the process
  int64_t offset() const { return offset_; }  // bytes from the chunk's base
  int64_t bytes() const { return shape_.numel() * SizeOf(dtype_); }
  void* data(int copy = 0) const;

  /// A copy of the current value, on the host: that of replica 0, the sum of all, or their parts
  /// together. Where other processes hold parts, all of them call it; it throws
  /// Error(kDistributed) when they do not come, or the replicas are gone.
  Tensor Snapshot() const;
  /// The same where the variable lies.
  Tensor Copy() const;
  /// A live view of the current value where it lies; later steps show through. It pins the chunk.
  /// (A snapshot while the value is a sum of copies.)
  Tensor View() const;
  /// Copies into place, for all replicas; throws Error naming the variable when dtype or shape
  /// differ. A sum lies in copy 0 then, and the others are 0; of parts each copy gets its own.
  void Assign(const Tensor& value);
  /// One copy as it is.
  Tensor SnapshotCopy(int copy) const;
  void AssignCopy(int copy, const Tensor& value);

  /// Moves the value to another device, and there is one copy then; nothing else about the variable
  /// changes, and views of it stay behind. A slot follows the variable that it is of. Not while a
  /// step that uses it runs.
  void MoveTo(DeviceId device);
  /// The value has a copy on each of these devices (at least one, all different), as the MoveTo of
  /// them all; or a part of it, of a slot.
  void Mirror(std::span<const DeviceId> devices, const Parts& parts = {});
  /// How often any variable was moved or mirrored: whoever holds an address compares.
  static int64_t moves() { return moves_.load(std::memory_order_acquire); }

  /// The StateClock of the last write. Whoever writes through data(0) alone says so with
  /// MarkWritten, and MarkBehind where there are others; replicas that write through their copies
  /// with MarkCopyWritten.
  int64_t written_at() const { return written_at_.load(std::memory_order_relaxed); }
  void MarkWritten(int64_t now) { written_at_.store(now, std::memory_order_relaxed); }
  void MarkCopyWritten(int64_t now);

  /// The other copies may differ from copy 0, which counts. Not of sums.
  void MarkBehind();
  /// Copy 0 is copied where the others are behind. Before replicas run.
  void CatchUp();
  /// How often the copies of any variable fell behind.
  static int64_t fell_behind() { return fell_behind_.load(std::memory_order_acquire); }
  /// The whole sum goes into copy 0. Before one replica alone reads it.
  void Gather();
  /// How often replicas added to any sum.
  static int64_t spreads() { return spreads_.load(std::memory_order_acquire); }

 private:
  Variable() = default;
  const StateChunk& chunk(int copy) const;
  void Write(int copy, const Tensor& value);
  void PlaceOn(std::span<const DeviceId> devices, const Parts& parts);
  Tensor PartOf(const Tensor& value, int part) const;
  Tensor Joined() const;
  void RequireHere(DeviceId to) const;

  int64_t id_ = 0, offset_ = 0;
  std::atomic<int64_t> written_at_{0};
  std::atomic<bool> is_behind_{false}, is_spread_{false};
  Copies copies_ = Copies::kEqual;
  std::string name_;
  DType dtype_ = DType::kFloat32;
  Shape shape_;
  StateClass class_ = StateClass::kOther;
  std::shared_ptr<StateChunk> chunk_;
  std::vector<std::shared_ptr<StateChunk>> others_;  // of copies 1, 2, …
  Parts parts_;
  std::string slot_kind_;  // "" for all but slots
  std::weak_ptr<Variable> slot_of_;
  static inline std::atomic<int64_t> moves_{0}, fell_behind_{0}, spreads_{0};
};

/// Closes every open chunk: later variables start new ones. The first training plan calls it.
void SealStateChunks();

}  // namespace ostria
