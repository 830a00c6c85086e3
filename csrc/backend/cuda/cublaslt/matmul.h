// SPDX-License-Identifier: Apache-2.0
// A problem of cuBLASLt on a live device: handle, descriptors, algorithms, and the call itself.
// Algorithms that add into the result in an order of their own (in-place split-K) are never asked
// for, so every result is the same in every run.
#pragma once

#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "backend/cuda/cublaslt/rules.h"
#include "backend/cuda/libraries/cublaslt.h"
#include "backend/cuda/stream.h"

namespace ostria::cuda {

/// One per stream: CudaStream::Kept<LtHandle>().
class LtHandle {
 public:
  explicit LtHandle(const CudaStream& stream);
  ~LtHandle();
  LtHandle(const LtHandle&) = delete;
  LtHandle& operator=(const LtHandle&) = delete;
  cublasLtHandle_t get() const { return handle_; }

 private:
  cublasLtHandle_t handle_ = nullptr;
};

/// The descriptors of a problem, made by the functions of `lt`; no device is needed.
class LtDescriptors {
 public:
  LtDescriptors(const CublasLtTable& lt, const LtProblem& problem);
  cublasLtMatmulDesc_t op() const { return op_.get(); }
  cublasLtMatrixLayout_t a() const { return a_.get(); }
  cublasLtMatrixLayout_t b() const { return b_.get(); }
  cublasLtMatrixLayout_t d() const { return d_.get(); }

 private:
  template <class T>
  struct Destroy {
    cublasStatus_t (*fn)(T*);
    void operator()(T* p) const { fn(p); }
  };
  template <class Handle, class T = std::remove_pointer_t<Handle>>
  using Owned = std::unique_ptr<T, Destroy<T>>;
  static Owned<cublasLtMatrixLayout_t> Layout(const CublasLtTable& lt, const LtMatrix& m,
                                              int64_t batches);
  Owned<cublasLtMatmulDesc_t> op_;
  Owned<cublasLtMatrixLayout_t> a_, b_, d_;
};

struct LtAlgorithm {
  cublasLtMatmulAlgo_t algo = {};
  int64_t workspace_bytes = 0;
};

/// What one run reads and writes; `c` only where the problem adds it, `bias` (or its gradient) and
/// `aux` where its epilogue reads or writes them.
struct LtOperands {
  const void *a = nullptr, *b = nullptr, *bias = nullptr, *c = nullptr, *aux = nullptr;
  void *d = nullptr, *workspace = nullptr;
};

class LtMatmul {
 public:
  LtMatmul(CudaStream& stream, const LtProblem& problem);

  const LtProblem& problem() const { return problem_; }
  /// At most `count` algorithms within the workspace, the one that should be fastest first; none
  /// where the library has no kernel for the problem.
  std::vector<LtAlgorithm> Algorithms(int64_t workspace_bytes, int count) const;
  /// An algorithm from a record, if the library still takes it.
  std::optional<LtAlgorithm> Restore(const cublasLtMatmulAlgo_t& algo,
                                     int64_t workspace_bytes) const;
  /// Puts the product into the stream.
  void Run(const LtAlgorithm& algorithm, const LtOperands& operands) const;

 private:
  void SetPointers(const void* bias, const void* aux) const;
  CudaStream& stream_;
  const CublasLtTable& lt_;
  cublasLtHandle_t handle_;
  LtProblem problem_;
  LtDescriptors descriptors_;
};

/// The library, the device and the problem: what a recorded algorithm holds for.
std::string ChoiceKey(const CudaDevice& device, const LtProblem& problem);

}  // namespace ostria::cuda
