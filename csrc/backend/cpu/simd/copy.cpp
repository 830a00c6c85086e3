// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>

#include "backend/cpu/simd/elementwise.h"
#include "base/check.h"
#include "base/parallel.h"

namespace ostria {
namespace {

constexpr int64_t kGrainBytes = 65536;
constexpr int64_t kBlock =
    32;  // a transposed block of 32 x 32 eight-byte elements fits level-1 cache

template <class T>
constexpr bool kIsHalf = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;

template <class To, class From>
To Convert(From v) {
  if constexpr (kIsHalf<From>) {
    return Convert<To>(static_cast<float>(v));
  } else if constexpr (kIsHalf<To>) {
    return To(static_cast<float>(v));
  } else if constexpr (std::is_same_v<To, bool>) {
    return v != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    using Limits = std::numeric_limits<To>;
    // The bounds round to powers of two in double, so >= catches what the type cannot hold.
    const double wide = static_cast<double>(v);
    if (wide != wide) return 0;
    if (wide <= static_cast<double>(Limits::min())) return Limits::min();
    if (wide >= static_cast<double>(Limits::max())) return Limits::max();
    return static_cast<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

template <class To, class From>
void CastLoop(const From* src, To* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = Convert<To>(src[i]);
}

int HalfIndex(DType t) { return t == DType::kFloat16 ? 0 : t == DType::kBFloat16 ? 1 : -1; }

void CastRange(DType from, const char* src, DType to, char* dst, int64_t n) {
  if (to == DType::kFloat32 && HalfIndex(from) >= 0) {
    const auto* half = reinterpret_cast<const uint16_t*>(src);
    return HalfConversions().from_half[HalfIndex(from)](half, reinterpret_cast<float*>(dst), n);
  }
  if (from == DType::kFloat32 && HalfIndex(to) >= 0) {
    const auto* wide = reinterpret_cast<const float*>(src);
    return HalfConversions().to_half[HalfIndex(to)](wide, reinterpret_cast<uint16_t*>(dst), n);
  }
  DispatchDType(from, [&]<class From>(From*) {
    DispatchDType(to, [&]<class To>(To*) {
      CastLoop(reinterpret_cast<const From*>(src), reinterpret_cast<To*>(dst), n);
    });
  });
}

template <class Fn>
void BySize(int size, Fn fn) {
  switch (size) {
    case 1: return fn(uint8_t{});
    case 2: return fn(uint16_t{});
    case 4: return fn(uint32_t{});
    case 8: return fn(uint64_t{});
    default: break;
  }
  OSTRIA_CHECK(false, "elements are 1, 2, 4 or 8 bytes");
}

// Where position `index` of the dimensions before `dims` lies.
void Offsets(const StridedCopyProgram& p, int dims, int64_t index, int64_t* src, int64_t* dst) {
  *src = *dst = 0;
  for (int d = dims - 1; d >= 0; --d) {
    const int64_t i = index % p.sizes[d];
    index /= p.sizes[d];
    *src += i * p.src[d];
    *dst += i * p.dst[d];
  }
}

template <class T>
void CopyRow(const T* src, int64_t src_stride, T* dst, int64_t dst_stride, int64_t n) {
  if (dst_stride == 1 && src_stride == 1) {
    std::memcpy(dst, src, n * sizeof(T));
  } else if (dst_stride == 1 && src_stride == 0) {
    std::fill_n(dst, n, *src);
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i * dst_stride] = src[i * src_stride];
  }
}

template <class T>
void CopyRows(const StridedCopyProgram& p, const T* src, T* dst) {
  const int last = p.rank - 1;
  const int64_t cols = p.sizes[last], rows = p.numel / cols;
  const int64_t grain = std::max<int64_t>(1, kGrainBytes / (cols * int64_t{sizeof(T)}));
  if (rows == 1) {  // one long row: cut it
    ParallelFor(cols, kGrainBytes / sizeof(T), [&](int64_t b, int64_t e) {
      CopyRow(src + b * p.src[last], p.src[last], dst + b * p.dst[last], p.dst[last], e - b);
    });
    return;
  }
  ParallelFor(rows, grain, [&](int64_t begin, int64_t end) {
    const int inner = last - 1;
    int64_t r = begin;
    while (r < end) {  // one odometer step per run of the second-to-last dimension
      int64_t s, d;
      Offsets(p, last, r, &s, &d);
      const int64_t run = std::min(p.sizes[inner] - r % p.sizes[inner], end - r);
      for (int64_t i = 0; i < run; ++i) {
        CopyRow(src + s + i * p.src[inner], p.src[last], dst + d + i * p.dst[inner], p.dst[last],
                cols);
      }
      r += run;
    }
  });
}

template <class T>
void CopyTransposed(const StridedCopyProgram& p, const T* src, T* dst) {
  const int a = p.rank - 2, b = p.rank - 1;
  const int64_t bands = (p.sizes[a] + kBlock - 1) / kBlock;
  const int64_t outer = p.numel / (p.sizes[a] * p.sizes[b]);
  const int64_t band_bytes = kBlock * p.sizes[b] * int64_t{sizeof(T)};
  ParallelFor(outer * bands, std::max<int64_t>(1, kGrainBytes / band_bytes),
              [&](int64_t begin, int64_t end) {
                for (int64_t task = begin; task < end; ++task) {
                  int64_t s, d;
                  Offsets(p, a, task / bands, &s, &d);
                  const int64_t a0 = task % bands * kBlock, a1 = std::min(a0 + kBlock, p.sizes[a]);
                  for (int64_t b0 = 0; b0 < p.sizes[b]; b0 += kBlock) {
                    const int64_t b1 = std::min(b0 + kBlock, p.sizes[b]);
                    for (int64_t i = a0; i < a1; ++i) {
                      const T* from = src + s + i * p.src[a];
                      T* to = dst + d + i * p.dst[a];
                      for (int64_t j = b0; j < b1; ++j) to[j * p.dst[b]] = from[j * p.src[b]];
                    }
                  }
                }
              });
}

}  // namespace

void Cast(DType from, const void* src, DType to, void* dst, int64_t n) {
  const int64_t from_size = SizeOf(from), to_size = SizeOf(to);
  const auto* in = static_cast<const char*>(src);
  auto* out = static_cast<char*>(dst);
  if (from == to) {
    if (src != dst)
      ParallelFor(n, kGrainBytes, [&](int64_t b, int64_t e) {
        std::memcpy(out + b * to_size, in + b * to_size, (e - b) * to_size);
      });
    return;
  }
  ParallelFor(n, 16384, [&](int64_t b, int64_t e) {
    CastRange(from, in + b * from_size, to, out + b * to_size, e - b);
  });
}

void Fill(void* dst, const void* value, int size, int64_t n) {
  BySize(size, [&]<class T>(T v) {
    std::memcpy(&v, value, sizeof v);
    ParallelFor(n, kGrainBytes / size, [&](int64_t b, int64_t e) {
      std::fill(static_cast<T*>(dst) + b, static_cast<T*>(dst) + e, v);
    });
  });
}

StridedCopyProgram PrepareStridedCopy(const StridedCopyArgs& args) {
  OSTRIA_CHECK(args.rank >= 0 && args.rank <= kMaxCopyRank);
  StridedCopyProgram p;
  p.element_size = args.element_size;
  p.numel = 1;
  int order[kMaxCopyRank], count = 0;
  for (int d = 0; d < args.rank; ++d) {
    p.numel *= args.sizes[d];
    if (args.sizes[d] != 1) order[count++] = d;
  }
  // The destination's order, so that writes stream; neighbours that both sides walk as one are
  // joined.
  std::stable_sort(order, order + count, [&](int a, int b) {
    return std::abs(args.dst_strides[a]) > std::abs(args.dst_strides[b]);
  });
  for (int i = 0; i < count; ++i) {
    const int d = order[i], top = p.rank - 1;
    const int64_t size = args.sizes[d], s = args.src_strides[d], t = args.dst_strides[d];
    const bool joins = p.rank > 0 && p.src[top] == s * size && p.dst[top] == t * size;
    const int at = joins ? top : p.rank++;
    p.sizes[at] = joins ? p.sizes[at] * size : size;
    p.src[at] = s;
    p.dst[at] = t;
  }
  if (p.rank == 0) {
    p.rank = 1;
    p.sizes[0] = p.src[0] = p.dst[0] = 1;
  }
  // A dimension that is contiguous in src beside the last one, contiguous in dst: copy in blocks.
  const int last = p.rank - 1;
  if (p.src[last] != 0 && p.src[last] != 1) {
    for (int d = last - 1; d >= 0; --d) {
      if (std::abs(p.src[d]) != 1) continue;
      std::rotate(p.sizes + d, p.sizes + d + 1, p.sizes + last);
      std::rotate(p.src + d, p.src + d + 1, p.src + last);
      std::rotate(p.dst + d, p.dst + d + 1, p.dst + last);
      p.transposes = true;
      break;
    }
  }
  return p;
}

void RunStridedCopy(const StridedCopyProgram& p, const void* src, void* dst) {
  if (p.numel == 0) return;
  BySize(p.element_size, [&]<class T>(T) {
    if (p.transposes) {
      CopyTransposed(p, static_cast<const T*>(src), static_cast<T*>(dst));
    } else {
      CopyRows(p, static_cast<const T*>(src), static_cast<T*>(dst));
    }
  });
}

}  // namespace ostria
