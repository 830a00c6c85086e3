// SPDX-License-Identifier: Apache-2.0
// A plan on a device that computes by itself. Compiled plans are recorded: the first run puts its
// steps into the stream, the second captures them, later ones launch what was captured. What is
// captured has fixed addresses: inputs pass through staging buffers, two sets of them so that the
// next step's arrive during this one; outputs are copied out. Single ops run on their operands.
//
//   host tensor -> pinned --copy stream--> staged -> [ steps ] -> output buffer -> fresh tensor
//   device tensor ------------------------> staged
//
// Nothing here waits for the device, but where a run would overwrite pinned memory that is not
// copied yet: two runs ahead.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "runtime/bound_plan.h"

namespace ostria {

/// Whether a run is replayed from a recording or put into the stream step by step.
enum class Launching : uint8_t { kRecorded, kDirect };

class DeviceRun {
 public:
  /// `address`: of every operand but inputs, outputs and constants. With the device's lock held, as
  /// all that follows.
  DeviceRun(std::shared_ptr<const Plan> plan, LiveDevice& device, Launching launching,
            std::function<void*(const Operand&)> address);
  ~DeviceRun();

  /// Addresses have changed.
  void Forget();
  /// Collectives that come go to this group (Communicator::device_handle).
  void Join(std::shared_ptr<void> group);
  /// Called instead of the launch of a step, to launch it itself.
  using EachStep = std::function<void(size_t step, void* const* ptrs)>;
  /// Puts one run into the main stream; `kept`: the kept steps too. `outputs` become tensors of
  /// the device. `each` forbids recordings. `step`: where an error was thrown.
  void Run(std::span<const Tensor> inputs, bool kept, std::vector<Tensor>* outputs, size_t* step,
           const EachStep* each = nullptr);
  void Launch(size_t step, void* const* ptrs) const { bound_.Launch(step, ptrs); }
  Stream& StreamOf(size_t step) const { return bound_.StreamOf(step); }

 private:
  struct Addresses {  // of one way to run the plan
    std::vector<void*> operands;
    std::vector<void*> from, to;  // of plan->copies
  };
  struct Staging {
    std::shared_ptr<void> device;
    std::byte* pinned = nullptr;
    std::shared_ptr<const Event> copied;  // pinned memory may be written
    std::shared_ptr<const Event> used;    // device memory may be written
    Addresses addresses;
    bool resolved = false;
    std::unique_ptr<Recording> recording;
  };
  void Resolve(std::span<void* const> inputs, std::span<void* const> outputs, Addresses* a) const;
  void AllocateStaging();
  void FreeStaging();
  void Stage(std::span<const Tensor> inputs, Staging* set);
  void RunSteps(const Addresses& a, size_t begin, size_t end, size_t* step,
                const EachStep* each) const;
  void RunCopies(const Addresses& a) const;
  void Replay(std::unique_ptr<Recording>* recording, bool may_capture,
              const std::function<void()>& work) const;
  void RunRecorded(std::span<const Tensor> inputs, bool kept, std::vector<Tensor>* outputs,
                   size_t* step, const EachStep* each);
  void RunDirect(std::span<const Tensor> inputs, bool kept, std::vector<Tensor>* outputs,
                 size_t* step, const EachStep* each);

  BoundPlan bound_;
  LiveDevice& device_;
  Launching launching_;
  std::function<void*(const Operand&)> address_;

  // Recorded:
  std::vector<int64_t> input_offsets_, output_offsets_;
  int64_t staged_bytes_ = 0;
  std::shared_ptr<void> outputs_;
  std::shared_ptr<void> group_;  // that the recordings are of: goes after them
  std::array<Staging, 2> staging_;
  std::unique_ptr<Recording> kept_recording_;
  bool warm_ = false, kept_warm_ = false;  // ran once
  int turn_ = 0;

  Addresses direct_;
};

}  // namespace ostria
