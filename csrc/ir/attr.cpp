// SPDX-License-Identifier: Apache-2.0
#include "ir/attr.h"

#include <cstring>

#include "ir/graph.h"

namespace ostria {

std::string_view Name(AttrType type) {
  static constexpr std::string_view kNames[] = {"bool", "int",   "float",  "string", "dtype",
                                                "ints", "shape", "tensor", "body"};
  return kNames[static_cast<int>(type)];
}

bool SameAttr(const Attr& a, const Attr& b) {
  if (a.index() != b.index()) return false;
  switch (TypeOf(a)) {
    case AttrType::kFloat:  // by bits: NaN equals itself, 0.0 differs from -0.0
      return std::bit_cast<uint64_t>(std::get<double>(a)) ==
             std::bit_cast<uint64_t>(std::get<double>(b));
    case AttrType::kTensor: {
      const Tensor &x = std::get<Tensor>(a), &y = std::get<Tensor>(b);
      return x.dtype() == y.dtype() && x.shape() == y.shape() &&
             std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) == 0;
    }
    case AttrType::kBody: {
      const Body &x = std::get<Body>(a), &y = std::get<Body>(b);
      return x == y || (x != nullptr && y != nullptr && Print(*x) == Print(*y));
    }
    case AttrType::kBool: return std::get<bool>(a) == std::get<bool>(b);
    case AttrType::kInt: return std::get<int64_t>(a) == std::get<int64_t>(b);
    case AttrType::kString: return std::get<std::string>(a) == std::get<std::string>(b);
    case AttrType::kDType: return std::get<DType>(a) == std::get<DType>(b);
    case AttrType::kInts:
      return std::get<std::vector<int64_t>>(a) == std::get<std::vector<int64_t>>(b);
    case AttrType::kShape: break;
  }
  return std::get<Shape>(a) == std::get<Shape>(b);
}

namespace {

uint64_t Mix(uint64_t h, uint64_t x) {
  h = (h ^ x) * 0x9e3779b97f4a7c15ull;
  return h ^ (h >> 32);
}

uint64_t HashBytes(const void* data, size_t n) {
  uint64_t h = n;
  const auto* p = static_cast<const unsigned char*>(data);
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = Mix(h, word);
  }
  for (; n > 0; --n, ++p) h = Mix(h, *p);
  return h;
}

}  // namespace

uint64_t HashAttr(const Attr& attr) {
  const uint64_t seed = attr.index() + 1;
  switch (TypeOf(attr)) {
    case AttrType::kBool: return Mix(seed, std::get<bool>(attr));
    case AttrType::kInt: return Mix(seed, static_cast<uint64_t>(std::get<int64_t>(attr)));
    case AttrType::kFloat: return Mix(seed, std::bit_cast<uint64_t>(std::get<double>(attr)));
    case AttrType::kString: {
      const std::string& s = std::get<std::string>(attr);
      return Mix(seed, HashBytes(s.data(), s.size()));
    }
    case AttrType::kDType: return Mix(seed, static_cast<uint64_t>(std::get<DType>(attr)));
    case AttrType::kInts: {
      const auto& v = std::get<std::vector<int64_t>>(attr);
      return Mix(seed, HashBytes(v.data(), v.size() * sizeof(int64_t)));
    }
    case AttrType::kShape: {
      uint64_t h = seed;
      for (Dim d : std::get<Shape>(attr)) h = Mix(h, static_cast<uint64_t>(d.code()));
      return h;
    }
    case AttrType::kTensor: {
      const Tensor& t = std::get<Tensor>(attr);
      return Mix(seed, HashBytes(t.raw(), static_cast<size_t>(t.bytes())));
    }
    case AttrType::kBody: break;
  }
  const std::string text = ToString(attr);
  return Mix(seed, HashBytes(text.data(), text.size()));
}

}  // namespace ostria
