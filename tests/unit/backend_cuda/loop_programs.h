// SPDX-License-Identifier: Apache-2.0
// Loop programs on the (fake) device: generated, compiled, launched, compared with the reference.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "backend/cuda/codegen/codegen.h"
#include "core/tensor.h"
#include "ir/graph.h"

namespace ostria {

/// Device memory with elements of NaN before and behind what is handed out, which can begin
/// anywhere in a vector.
class GuardedBlock {
 public:
  /// `skew` elements behind a 256-byte boundary.
  GuardedBlock(DType dtype, int64_t elements, int skew);
  ~GuardedBlock();
  GuardedBlock(const GuardedBlock&) = delete;
  GuardedBlock& operator=(const GuardedBlock&) = delete;
  void* data() const { return data_; }
  /// Whether nobody wrote around it.
  bool Intact() const;

 private:
  std::byte* base_;
  size_t bytes_, total_;
  std::byte* data_;
};

/// Runs a program over memory of `inputs`; every operand begins `skew` elements behind a boundary.
/// `in_place`: outputs lie on inputs wherever they may, one on each.
std::vector<Tensor> RunLoop(const LoopProgram& program, const std::vector<Tensor>& inputs,
                            const std::vector<Tensor>& like, int skew = 0, bool in_place = false);
/// What RunReference says.
std::vector<Tensor> RunLoopReference(const LoopProgram& program, const std::vector<Tensor>& inputs,
                                     const std::vector<Tensor>& like);
/// Remembers the program's kernels, so that the next RunLoop compiles all of them together.
void ExpectLoop(const LoopProgram& program);

/// From now on, threads and blocks run in orders drawn from `seed`.
void SetThreadOrder(uint64_t seed);

/// Fails unless elements differ by at most what the CPU's tests of loops allow.
void ExpectLoopClose(const Tensor& got, const Tensor& want, const std::string& what);

}  // namespace ostria
