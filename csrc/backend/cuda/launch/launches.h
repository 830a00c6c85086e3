// SPDX-License-Identifier: Apache-2.0
// A node that is several launches of kernels of our own, in order. Which pointer of a parameter
// struct is which operand is written down at prepare, as a place; see launch.h for one launch.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "backend/cuda/launch/launch.h"

namespace ostria::cuda {

/// Bytes `offset` into an operand: inputs are counted first, then outputs, then the workspace.
struct Place {
  int operand = -1;
  int64_t offset = 0;
  friend Place operator+(Place p, int64_t bytes) { return {p.operand, p.offset + bytes}; }
};

struct Launches : KernelState {
  struct Pointer {
    size_t at;  // in params
    Place place;
  };
  struct One {
    std::string file, function;
    LaunchShape shape;
    std::vector<std::byte> params;
    std::vector<Pointer> pointers;
    int data_error = -1, step = -1;  // where params have these, which bind sets
  };
  std::vector<One> all;
  std::vector<std::string> LaunchNames() const override;

  /// Sets the pointers of the launch that was added last.
  template <class Params>
  class Adding {
   public:
    explicit Adding(One* one) : one_(one) {}
    template <class T>
    Adding& Point(T* Params::*member, Place place) {
      const Params p{};
      const auto at =
          reinterpret_cast<const std::byte*>(&(p.*member)) - reinterpret_cast<const std::byte*>(&p);
      one_->pointers.push_back({static_cast<size_t>(at), place});
      return *this;
    }
    /// The same for a pointer inside of `params`, of which the launch was made.
    template <class T>
    Adding& PointAt(const Params* params, T* const* member, Place place) {
      const auto at =
          reinterpret_cast<const std::byte*>(member) - reinterpret_cast<const std::byte*>(params);
      one_->pointers.push_back({static_cast<size_t>(at), place});
      return *this;
    }

   private:
    One* one_;
  };

  template <class Params>
  Adding<Params> Add(std::string file, std::string function, const LaunchShape& shape,
                     const Params& params) {
    static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= kMaxParams);
    const auto* bytes = reinterpret_cast<const std::byte*>(&params);
    all.push_back(
        {std::move(file), std::move(function), shape, {bytes, bytes + sizeof(Params)}, {}});
    if constexpr (requires { params.data_error; }) {
      const auto at = [bytes](const auto& member) {
        return static_cast<int>(reinterpret_cast<const std::byte*>(&member) - bytes);
      };
      all.back().data_error = at(params.data_error);
      all.back().step = at(params.step);
    }
    return Adding<Params>(&all.back());
  }

  static constexpr size_t kMaxParams = 4000;
};

/// KernelDef::bind and ::launch of such a node.
std::unique_ptr<KernelState> BindMany(const std::shared_ptr<const KernelState>& state,
                                      const BindContext& to);
void RunMany(const KernelState& state, void* const* ptrs);

}  // namespace ostria::cuda
