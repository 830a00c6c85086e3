// SPDX-License-Identifier: Apache-2.0
#include "runtime/device_run.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "ir/bytes.h"

namespace ostria {
namespace {

// Offsets of values that lie one behind the other, and their sum.
int64_t LayOut(std::span<const ValueType> types, std::vector<int64_t>* offsets) {
  int64_t bytes = 0;
  for (const ValueType& t : types) {
    offsets->push_back(bytes);
    constexpr int64_t a = kAlignment;
    bytes += (Bytes(t) + a - 1) / a * a;
  }
  return bytes;
}

std::byte* At(const std::shared_ptr<void>& block, int64_t offset) {
  return static_cast<std::byte*>(block.get()) + offset;
}

}  // namespace

DeviceRun::DeviceRun(std::shared_ptr<const Plan> plan, LiveDevice& device, Launching launching,
                     std::function<void*(const Operand&)> address)
    : bound_(std::move(plan), device, device.main()),
      device_(device),
      launching_(launching),
      address_(std::move(address)) {
  if (launching_ != Launching::kRecorded) return;
  try {
    AllocateStaging();
  } catch (...) {
    FreeStaging();
    throw;
  }
}

DeviceRun::~DeviceRun() { FreeStaging(); }

// Device memory is let go in the stream's order, pinned memory when nobody reads it any more.
void DeviceRun::FreeStaging() {
  for (const Staging& set : staging_) {
    if (set.pinned == nullptr) continue;
    try {
      if (set.copied != nullptr) set.copied->Wait();
    } catch (const Error&) {  // of the device: whoever reads a result is told
    }
    device_.backend().FreePinned(set.pinned, static_cast<size_t>(staged_bytes_));
  }
}

void DeviceRun::AllocateStaging() {
  const Plan& plan = bound_.plan();
  staged_bytes_ = LayOut(plan.inputs, &input_offsets_);
  for (Staging& set : staging_) {
    if (staged_bytes_ == 0) break;
    set.device = device_.Allocate(staged_bytes_);
    set.used = device_.main().Record();  // by whoever had the memory before
    set.pinned = static_cast<std::byte*>(
        device_.backend().AllocatePinned(static_cast<size_t>(staged_bytes_)));
  }
  outputs_ = device_.Allocate(LayOut(plan.outputs, &output_offsets_));
}

void DeviceRun::Forget() {
  for (Staging& set : staging_) {
    set.resolved = false;
    set.recording = nullptr;
  }
  kept_recording_ = nullptr;
}

// What a group makes when it is first used is not to be recorded, so the first run is not.
void DeviceRun::Join(std::shared_ptr<void> group) {
  if (group == group_) return;
  Forget();
  warm_ = kept_warm_ = false;
  group_ = std::move(group);
}

void DeviceRun::Resolve(std::span<void* const> inputs, std::span<void* const> outputs,
                        Addresses* a) const {
  const Plan& plan = bound_.plan();
  const auto address = [&](const Operand& o) -> void* {
    switch (o.region) {
      case Region::kInput: return inputs[static_cast<size_t>(o.index)];
      case Region::kOutput: return outputs[static_cast<size_t>(o.index)];
      case Region::kConstant: return bound_.constants() + o.offset;
      default: return address_(o);
    }
  };
  a->operands.clear();
  for (const Operand& o : plan.operands) a->operands.push_back(address(o));
  a->from.clear();
  a->to.clear();
  for (const Copy& c : plan.copies) {
    a->from.push_back(address(c.from));
    a->to.push_back(address(c.to));
  }
}

void DeviceRun::RunSteps(const Addresses& a, size_t begin, size_t end, size_t* step,
                         const EachStep* each) const {
  *step = begin;
  bound_.RunSteps(begin, end, [&](size_t i) {
    *step = i;
    void* const* ptrs = a.operands.data() + bound_.plan().steps[i].first_operand;
    if (each != nullptr)
      (*each)(i, ptrs);
    else
      bound_.Launch(i, ptrs);
  });
  *step = end;
}

void DeviceRun::RunCopies(const Addresses& a) const {
  for (size_t i = 0; i < a.from.size(); ++i) {
    const auto bytes = static_cast<size_t>(bound_.plan().copies[i].bytes);
    if (bytes > 0) device_.main().CopyOnDevice(a.to[i], a.from[i], bytes);
  }
}

void DeviceRun::Stage(std::span<const Tensor> inputs, Staging* set) {
  bool copies = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto bytes = static_cast<size_t>(inputs[i].bytes());
    if (bytes == 0) continue;
    std::byte* const staged = At(set->device, input_offsets_[i]);
    if (!inputs[i].on_host()) {
      device_.main().CopyOnDevice(staged, inputs[i].raw(), bytes);
      continue;
    }
    if (!copies) {
      copies = true;
      if (set->copied != nullptr && !set->copied->Done()) set->copied->Wait();
      if (set->used != nullptr) device_.copies().WaitFor(*set->used);
    }
    std::byte* const pinned = set->pinned + input_offsets_[i];
    std::memcpy(pinned, inputs[i].raw(), bytes);
    device_.copies().CopyToDevice(staged, pinned, bytes);
  }
  if (!copies) return;
  set->copied = device_.copies().Record();
  device_.main().WaitFor(*set->copied);
}

void DeviceRun::Replay(std::unique_ptr<Recording>* recording, bool may_capture,
                       const std::function<void()>& work) const {
  if (!may_capture) return work();
  if (*recording == nullptr) {
    device_.main().BeginCapture();
    try {
      work();
    } catch (...) {
      try {
        device_.main().EndCapture();
      } catch (const Error&) {  // the capture has failed too: the first error says why
      }
      throw;
    }
    *recording = device_.main().EndCapture();
  }
  (*recording)->Launch(device_.main());
}

void DeviceRun::RunRecorded(std::span<const Tensor> inputs, bool kept, std::vector<Tensor>* outputs,
                            size_t* step, const EachStep* each) {
  const Plan& plan = bound_.plan();
  Staging& set = staging_[static_cast<size_t>(turn_)];
  turn_ = 1 - turn_;
  if (!set.resolved) {
    std::vector<void*> in, out;
    for (int64_t offset : input_offsets_) in.push_back(At(set.device, offset));
    for (int64_t offset : output_offsets_) out.push_back(At(outputs_, offset));
    Resolve(in, out, &set.addresses);
    set.resolved = true;
  }
  // Before anything runs: where memory is short, nothing has changed.
  std::vector<std::shared_ptr<void>> blocks;
  for (const ValueType& t : plan.outputs) {
    blocks.push_back(Bytes(t) <= LiveDevice::kSlotBytes ? device_.NewSlot()
                                                        : device_.Allocate(Bytes(t)));
  }
  Stage(inputs, &set);
  const auto first = static_cast<size_t>(plan.num_kept);
  if (kept) {
    Replay(&kept_recording_, kept_warm_ && each == nullptr,
           [&] { RunSteps(set.addresses, 0, first, step, each); });
    kept_warm_ = true;
  }
  const bool nothing = first == plan.steps.size() && plan.copies.empty();
  Replay(&set.recording, warm_ && each == nullptr && !nothing, [&] {
    RunSteps(set.addresses, first, plan.steps.size(), step, each);
    RunCopies(set.addresses);
  });
  warm_ = true;

  *step = plan.steps.size();
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    const auto bytes = static_cast<size_t>(Bytes(plan.outputs[i]));
    std::byte* const from = At(outputs_, output_offsets_[i]);
    if (bytes > LiveDevice::kSlotBytes)
      device_.main().CopyOnDevice(blocks[i].get(), from, bytes);
    else if (bytes > 0)
      device_.main().CopyToHost(blocks[i].get(), from, bytes);
  }
  set.used = device_.main().Record();
  outputs->resize(plan.outputs.size());
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    const ValueType& t = plan.outputs[i];
    void* const data = blocks[i].get();
    (*outputs)[i] = device_.Wrap(t.dtype, t.shape, data, std::move(blocks[i]), set.used,
                                 Bytes(t) <= LiveDevice::kSlotBytes);
  }
}

void DeviceRun::RunDirect(std::span<const Tensor> inputs, bool kept, std::vector<Tensor>* outputs,
                          size_t* step, const EachStep* each) {
  const Plan& plan = bound_.plan();
  std::vector<std::shared_ptr<void>> copies, results;
  std::vector<void*> in, out;
  for (const Tensor& t : inputs) {
    if (!t.on_host()) {
      in.push_back(t.raw());
      continue;
    }
    copies.push_back(device_.Allocate(t.bytes()));
    in.push_back(copies.back().get());
    device_.Upload(in.back(), t);
  }
  for (const ValueType& t : plan.outputs) {
    results.push_back(device_.Allocate(Bytes(t)));
    out.push_back(results.back().get());
  }
  Resolve(in, out, &direct_);
  RunSteps(direct_, kept ? 0 : static_cast<size_t>(plan.num_kept), plan.steps.size(), step, each);
  RunCopies(direct_);
  outputs->resize(plan.outputs.size());
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    const ValueType& t = plan.outputs[i];
    (*outputs)[i] = device_.Wrap(t.dtype, t.shape, out[i], std::move(results[i]), nullptr);
  }
}

void DeviceRun::Run(std::span<const Tensor> inputs, bool kept, std::vector<Tensor>* outputs,
                    size_t* step, const EachStep* each) {
  OSTRIA_CHECK(inputs.size() == bound_.plan().inputs.size());
  if (launching_ == Launching::kRecorded)
    RunRecorded(inputs, kept, outputs, step, each);
  else
    RunDirect(inputs, kept, outputs, step, each);
}

}  // namespace ostria
