// SPDX-License-Identifier: Apache-2.0
// What follows a product where the library does not end it by itself: kernels of ours (bias and
// activation, relu's mask), then a generated loop (gradients, sums). It is the candidate beside an
// epilogue of the library.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/cublaslt/product.h"

namespace ostria::cuda {

struct Tail {
  std::shared_ptr<const KernelState> kernels;  // Launches; may be null
  std::shared_ptr<const KernelState> loop;     // behind them; may be null
  std::vector<int> loop_operands;              // which pointers of the node the loop gets
  std::string key;  // tells tails of equal products apart in a record of choices
  int64_t workspace_bytes = 0;

  std::vector<std::string> LaunchNames() const;
};

struct BoundTail {
  std::unique_ptr<KernelState> kernels, loop;
};

/// For a node whose product ends as BeforeTail (product.h) says; all that a tail touches is dense.
Tail PlanTail(const NodeDesc& node, const LtProduct& product);
BoundTail BindTail(const Tail& tail, const BindContext& to);
/// `ptrs`: the node's, as its launch gets them.
void RunTail(const Tail& tail, const BoundTail& bound, void* const* ptrs);

}  // namespace ostria::cuda
