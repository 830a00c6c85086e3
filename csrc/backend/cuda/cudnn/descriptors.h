// SPDX-License-Identifier: Apache-2.0
// Descriptors of cuDNN's backend interface, and how a CudnnGraph becomes one.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cuda/cudnn/graph.h"
#include "backend/cuda/libraries/cudnn.h"

namespace ostria::cuda {

/// Owns one descriptor. What the library refuses is Error(kInternal) with its words.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&&) = delete;

  void Set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values);
  void Set(cudnnBackendAttributeName_t name, int64_t value) {
    Set(name, CUDNN_TYPE_INT64, 1, &value);
  }
  void Set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
    Set(name, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
  }
  void Set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    Set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.raw_);
  }
  void Set(cudnnBackendAttributeName_t name, std::string_view text) {
    Set(name, CUDNN_TYPE_CHAR, static_cast<int64_t>(text.size()), text.data());
  }
  /// `what`: for the message of a refusal.
  void Finalize(std::string_view what);

  /// Fills at most `capacity` values and returns how many there are.
  int64_t Get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t capacity,
              void* values) const;
  int64_t GetInt(cudnnBackendAttributeName_t name) const;
  std::string GetText(cudnnBackendAttributeName_t name) const;

  cudnnBackendDescriptor_t raw() const { return raw_; }

 private:
  cudnnBackendDescriptor_t raw_ = nullptr;
};

/// A finalized operation graph with everything it refers to. Throws Error with cuDNN's words where
/// the library does not take it.
class OperationGraph {
 public:
  explicit OperationGraph(const CudnnGraph& graph);
  const Descriptor& descriptor() const { return *graph_; }

 private:
  std::vector<Descriptor> parts_;
  std::unique_ptr<Descriptor> graph_;
};

cudnnDataType_t CudnnType(DType dtype);

}  // namespace ostria::cuda
