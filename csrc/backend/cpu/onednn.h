// SPDX-License-Identifier: Apache-2.0
// The one door to oneDNN 3.x. A Primitive owns what one call needs; running it allocates nothing of
// ours: memory objects are made once and only their handles change. Concurrent runs borrow a set of
// memory objects each. Implementations whose name says `ref` are rejected: they take minutes, not
// milliseconds.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backend/kernel.h"
#include "ops/common/activation.h"

namespace ostria::cpu::onednn {

const dnnl::engine& Engine();
/// "3.9.1": of the library that is loaded.
std::string Version();

using Dims = dnnl::memory::dims;
/// Memory with strides in elements. `dtype` of all three: one that Takes() says yes to.
dnnl::memory::desc Strided(const Dims& sizes, const Dims& strides, DType dtype = DType::kFloat32);
/// Row-major.
dnnl::memory::desc Dense(const Dims& sizes, DType dtype = DType::kFloat32);
/// In whatever layout the primitive likes best.
dnnl::memory::desc Any(const Dims& sizes, DType dtype = DType::kFloat32);

/// Whether products of this type are the library's: those of float32, and of bfloat16 where the CPU
/// has instructions for them (elsewhere the library would convert, slower than a decomposition).
Support Takes(DType dtype);

/// Scratchpad from the caller, and the activation applied to the result; before that, what the
/// result's memory held is added where `sum` says so.
dnnl::primitive_attr Attributes(ops::Activation activation = ops::Activation::kNone,
                                bool sum = false);

/// Threads for a node that does `flops` operations: one when a second would cost more than it
/// saves.
int ThreadsFor(const NodeDesc& node, double flops);

/// Yes, or the reason why this primitive must not be used.
Support Judge(const dnnl::primitive_desc_base& pd);

/// Runs `make` (which returns a primitive descriptor) and judges the result; what oneDNN throws
/// becomes the reason.
template <class Make>
Support Try(const Make& make) {
  try {
    return Judge(make());
  } catch (const dnnl::error& e) {
    return Support::No("oneDNN: ", std::string_view(e.message));
  }
}

/// A compiled primitive with its arguments in a fixed order, scratchpad last (when it needs any).
class Primitive {
 public:
  static constexpr int kMaxArgs = 6;
  struct Arg {
    int id;  // DNNL_ARG_SRC, …
    dnnl::memory::desc desc;
  };

  Primitive() = default;
  Primitive(const dnnl::primitive_desc_base& pd, const dnnl::primitive& primitive,
            std::span<const Arg> args, int threads);
  ~Primitive();
  Primitive(const Primitive&) = delete;
  Primitive& operator=(const Primitive&) = delete;

  int64_t scratchpad_bytes() const { return scratchpad_bytes_; }
  const std::string& impl() const { return impl_; }
  /// One address per argument, then the scratchpad's when scratchpad_bytes() is not 0.
  void Run(void* const* handles) const;

 private:
  struct ArgSet {
    std::array<dnnl_exec_arg_t, kMaxArgs> args;
    ~ArgSet();
  };
  ArgSet* NewSet() const;

  dnnl::primitive primitive_;
  std::array<int, kMaxArgs> ids_{};
  std::array<dnnl::memory::desc, kMaxArgs> descs_;
  int num_args_ = 0;
  int threads_ = 1;
  int64_t scratchpad_bytes_ = 0;
  std::string impl_;
  mutable std::array<std::atomic<ArgSet*>, 4> idle_{};
  mutable std::atomic<int64_t> shortest_ns_{0};
};

}  // namespace ostria::cpu::onednn
