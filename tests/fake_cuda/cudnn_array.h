// SPDX-License-Identifier: Apache-2.0
// What the operations of the fake cuDNN calculate with: dense arrays of doubles, and the tensors of
// a graph while it runs.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "core/dtype.h"
#include "fake_cuda/cudnn_descriptor.h"

namespace fake_cudnn {

using Ints = std::vector<int64_t>;

struct Array {
  Ints sizes;
  std::vector<double> values;  // dense
};

// Calls f(index, position) for every element.
template <class F>
void Each(const Ints& sizes, F f) {
  Ints index(sizes.size(), 0);
  int64_t count = 1;
  for (int64_t n : sizes) count *= n;
  for (int64_t i = 0; i < count; ++i) {
    f(index, static_cast<size_t>(i));
    for (size_t axis = sizes.size(); axis-- > 0 && ++index[axis] == sizes[axis];) index[axis] = 0;
  }
}

inline int64_t Dot(const Ints& a, const Ints& b) {
  int64_t sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Where `index` reads an array whose axes of size 1 are broadcast.
inline size_t Broadcast(const Ints& index, const Ints& sizes) {
  int64_t at = 0;
  for (size_t i = 0; i < sizes.size(); ++i) at = at * sizes[i] + (sizes[i] == 1 ? 0 : index[i]);
  return static_cast<size_t>(at);
}

template <class F>
void WithType(cudnnDataType_t type, F f) {
  switch (type) {
    case CUDNN_DATA_HALF: return f(ostria::Float16());
    case CUDNN_DATA_BFLOAT16: return f(ostria::BFloat16());
    case CUDNN_DATA_BOOLEAN: return f(uint8_t());
    case CUDNN_DATA_INT8: return f(int8_t());
    case CUDNN_DATA_UINT8: return f(uint8_t());
    case CUDNN_DATA_INT32: return f(int32_t());
    case CUDNN_DATA_INT64: return f(int64_t());
    case CUDNN_DATA_DOUBLE: return f(double());
    default: return f(float());
  }
}

inline Ints SizesOf(const Descriptor& t) { return t.List<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS); }

// The tensors of a graph by uid, while it runs.
class Memory {
 public:
  explicit Memory(const std::map<int64_t, void*>& addresses) : addresses_(addresses) {}
  bool good() const { return good_; }

  Array Load(const Descriptor& t) {
    if (IsVirtual(t)) return inside_.at(Uid(t));
    Array out{SizesOf(t), {}};
    out.values.resize(Count(out.sizes));
    const void* const p = Address(t);
    if (p == nullptr) return out;
    const Ints strides = t.List<int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
    WithType(Type(t), [&]<class T>(T) {
      Each(out.sizes, [&](const Ints& index, size_t i) {
        const T x = static_cast<const T*>(p)[Dot(index, strides)];
        if constexpr (std::is_arithmetic_v<T>) {
          out.values[i] = static_cast<double>(x);
        } else {
          out.values[i] = static_cast<double>(static_cast<float>(x));
        }
      });
    });
    return out;
  }

  void Store(const Descriptor& t, Array a) {
    if (IsVirtual(t)) {
      for (double& x : a.values) x = static_cast<double>(static_cast<float>(x));
      inside_[Uid(t)] = std::move(a);
      return;
    }
    void* const p = Address(t);
    if (p == nullptr) return;
    const Ints strides = t.List<int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
    WithType(Type(t), [&]<class T>(T) {
      Each(a.sizes, [&](const Ints& index, size_t i) {
        T& to = static_cast<T*>(p)[Dot(index, strides)];
        if constexpr (std::is_arithmetic_v<T>) {
          to = static_cast<T>(a.values[i]);
        } else {
          to = T(static_cast<float>(a.values[i]));
        }
      });
    });
  }

 private:
  static size_t Count(const Ints& sizes) {
    int64_t n = 1;
    for (int64_t s : sizes) n *= s;
    return static_cast<size_t>(n);
  }
  static int64_t Uid(const Descriptor& t) { return t.One<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID); }
  static cudnnDataType_t Type(const Descriptor& t) {
    return t.One<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
  }
  static bool IsVirtual(const Descriptor& t) {
    return t.Has(CUDNN_ATTR_TENSOR_IS_VIRTUAL) && t.One<char>(CUDNN_ATTR_TENSOR_IS_VIRTUAL) != 0;
  }
  void* Address(const Descriptor& t) {
    const auto it = addresses_.find(Uid(t));
    void* const p = it == addresses_.end() ? nullptr : it->second;
    const bool by_value = t.Has(CUDNN_ATTR_TENSOR_IS_BY_VALUE);
    const auto alignment = by_value ? 1 : t.One<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    good_ = good_ && p != nullptr && reinterpret_cast<intptr_t>(p) % alignment == 0;
    return p;
  }

  const std::map<int64_t, void*>& addresses_;
  std::map<int64_t, Array> inside_;
  bool good_ = true;
};

// One number per channel, in an array of the image's rank.
inline Array PerChannel(const Ints& image) {
  Ints sizes(image.size(), 1);
  sizes[1] = image[1];
  return {sizes, std::vector<double>(static_cast<size_t>(image[1]), 0)};
}

// One operation each, in the files of their families.
void NormForward(const Descriptor& op, Memory& memory);
void NormGrad(const Descriptor& op, Memory& memory);
void PoolForward(const Descriptor& op, Memory& memory);
void PoolGrad(const Descriptor& op, Memory& memory);
bool PoolForwardFits(const Descriptor& op);
bool PoolGradFits(const Descriptor& op);

}  // namespace fake_cudnn
