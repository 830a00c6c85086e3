// SPDX-License-Identifier: Apache-2.0
// A descriptor of the stand-in for cuDNN: the attributes it was given, byte by byte.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace fake_cudnn {

struct Descriptor;
using DescriptorPtr = std::shared_ptr<Descriptor>;

struct Attribute {
  cudnnBackendAttributeType_t type = CUDNN_TYPE_INT64;
  int64_t count = 0;
  std::vector<char> bytes;
  std::vector<DescriptorPtr> parts;  // where it refers to others, in place of bytes
};

struct Descriptor {
  cudnnBackendDescriptorType_t type = CUDNN_BACKEND_TENSOR_DESCRIPTOR;
  std::map<int, Attribute> attributes;
  bool finalized = false;

  bool Has(int name) const { return attributes.count(name) != 0; }
  template <class T>
  std::vector<T> List(int name) const {
    const Attribute& a = attributes.at(name);
    std::vector<T> out(static_cast<size_t>(a.count));
    std::memcpy(out.data(), a.bytes.data(), a.bytes.size());
    return out;
  }
  template <class T>
  T One(int name) const {
    return List<T>(name).at(0);
  }
  const Descriptor& Part(int name) const { return *attributes.at(name).parts.at(0); }
};

/// Runs the operations of a graph on host memory: uid to address. False where a tensor lacks one,
/// or its address is not aligned as it says.
bool Run(const Descriptor& graph, const std::map<int64_t, void*>& addresses);
/// Whether the shapes of an operation fit each other.
bool Fits(const Descriptor& operation);

}  // namespace fake_cudnn
