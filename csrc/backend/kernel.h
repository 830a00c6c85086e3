// SPDX-License-Identifier: Apache-2.0
// Implementations of ops: per backend an ordered list of KernelDefs, as oneDNN keeps; the first
// that supports a node wins. A NodeDesc holds no live device, so a plan for any device can be made
// anywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/mem_desc.h"
#include "ir/op_def.h"

namespace ostria {

/// What a plan may know of a device.
struct DeviceProps {
  DeviceKind kind = DeviceKind::kCpu;
  std::string name;          // "cpu", "cuda:sm_90"
  int threads = 1;           // CPU: threads a kernel may use
  int64_t memory_limit = 0;  // bytes a plan may take; 0: unlimited
  // CUDA: 90 for compute capability 9.0; what kernels are shaped for; what cuDNN knows of it.
  int compute_capability = 0;
  int multiprocessors = 0;
  int64_t shared_bytes = 0;  // a block may have at most
  int64_t l2_bytes = 0;
  std::string description;    // JSON
  bool deterministic = true;  // nothing is chosen by timing it, unless a record holds the choice
  bool tf32 = false;          // CUDA: products of float32 may round their operands to 10 bits
  friend bool operator==(const DeviceProps&, const DeviceProps&) = default;
};

struct NodeDesc {
  const OpDef* op = nullptr;
  std::span<const Attr> attrs;
  std::span<const MemDesc> inputs, outputs;
  const DeviceProps* device = nullptr;
  /// Bit i: input i is the same in every run until a Variable is written, and may be packed.
  uint64_t lasting = 0;

  bool Lasts(int i) const { return i < 64 && (lasting >> i & 1) != 0; }
  template <class T>
  const T& attr(int i) const {
    return std::get<T>(attrs[i]);
  }
};

/// Yes, or the reason why not (shown when no implementation fits, and by explain()).
struct Support {
  bool ok = true;
  std::string reason;
  static Support Yes() { return {}; }
  template <class... Args>
  static Support No(const Args&... why) {
    return {false, StrCat(why...)};
  }
};

/// Whatever an implementation prepared for one node: a library primitive, collapsed strides.
/// Immutable after Prepare, shared by every Executable of a plan and by threads.
struct KernelState {
  virtual ~KernelState() = default;
  /// What a launch of the node puts into a stream, by name and in order: kernels, calls of a
  /// library. Empty: one, which has no name but that of the implementation.
  virtual std::vector<std::string> LaunchNames() const { return {}; }
  int64_t workspace_bytes = 0;  // planned, 256-byte aligned, undefined on entry
  std::string detail;           // what explain() shows: "brgemm:avx512_core"
  /// The lasting input that launch wants as `pack` leaves it: packed_bytes at the input's pointer.
  int packed_input = -1;
  int64_t packed_bytes = 0;
};

class Stream;

/// Where a kernel is bound to.
struct BindContext {
  Stream& stream;
  int32_t step = 0;  // what Stream::TakeDataError names when the node refuses its data
};

/// Runs the node, or puts it into the stream that its state is bound to. `ptrs`: inputs in order,
/// then outputs, then the workspace. May throw Error (a bad index in the data), but must not
/// allocate, lock or synchronise otherwise.
using LaunchFn = void (*)(const KernelState& state, void* const* ptrs);

struct KernelDef {
  const OpDef* op = nullptr;  // nullptr: any op (the null backend)
  std::string_view impl;      // "onednn", "softmax_rows"; unique within the op
  Support (*supports)(const NodeDesc&) = nullptr;
  std::unique_ptr<KernelState> (*prepare)(const NodeDesc&) = nullptr;
  LaunchFn launch = nullptr;
  /// Whether output `out` may be the same memory as input `in` (same bytes, equal sizes).
  bool (*alias_ok)(const NodeDesc&, int out, int in) = nullptr;  // nullptr: never
  LaunchFn pack = nullptr;  // `ptrs`: the packed input, then its packed form
  /// Bit i: where nobody reads output i, it has no memory and launch is given null.
  uint32_t optional_outputs = 0;
  /// Where preparing needs the live device (modules, library plans): makes of `state` the one that
  /// launch gets, whose work goes to `to.stream`. Once per executable, never while capturing.
  std::unique_ptr<KernelState> (*bind)(const std::shared_ptr<const KernelState>& state,
                                       const BindContext& to) = nullptr;
};

}  // namespace ostria
