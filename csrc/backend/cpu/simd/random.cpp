// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/random.h"

#include <algorithm>

#include "backend/cpu/simd/dense_table.h"
#include "base/parallel.h"
#include "kernels/scalar/distributions.h"

namespace ostria {
namespace {

constexpr int64_t kTile = 1024;   // words; stays in level-1 cache
constexpr int64_t kGrain = 8192;  // elements worth a thread

struct Words {
  uint32_t key[2];
  uint64_t step;
};

Words WordsOf(const RandomKey& k) {
  const uint64_t key = k.seed ^ kernels::MixStream(k.stream);
  return {{static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)}, k.step};
}

// Calls fn(words, offset, count) for tiles of [begin, end); kPer words belong to an element.
template <int kPer, class Fn>
void ForTiles(const Words& w, uint64_t first, int64_t n, Fn fn) {
  constexpr int64_t kElements = kTile / kPer, kPerBlock = 4 / kPer;
  const auto bits = Dense().random.bits;
  ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t words[kTile];
    while (begin < end) {
      const uint64_t element = first + begin;
      const int64_t skip = element % kPerBlock, count = std::min(end - begin, kElements - skip);
      bits(w.key, w.step, element / kPerBlock, (skip + count + kPerBlock - 1) / kPerBlock, words);
      fn(words + skip * kPer, begin, count);
      begin += count;
    }
  });
}

uint64_t Wide(const uint32_t* words) { return static_cast<uint64_t>(words[0]) << 32 | words[1]; }

}  // namespace

void FillRandomBits(const RandomKey& key, uint64_t first, uint32_t* out, int64_t n) {
  ForTiles<1>(WordsOf(key), first, n, [&](const uint32_t* words, int64_t at, int64_t count) {
    std::copy_n(words, count, out + at);
  });
}

void FillUniform(const RandomKey& key, uint64_t first, float* out, int64_t n, double low,
                 double high) {
  const float a = static_cast<float>(low), b = static_cast<float>(high);
  ForTiles<1>(WordsOf(key), first, n, [&](const uint32_t* words, int64_t at, int64_t count) {
    Dense().random.uniform(words, out + at, count, a, b);
  });
}
void FillUniform(const RandomKey& key, uint64_t first, double* out, int64_t n, double low,
                 double high) {
  ForTiles<2>(WordsOf(key), first, n, [&](const uint32_t* words, int64_t at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const double v = low + kernels::UniformFromBits64(Wide(words + 2 * i)) * (high - low);
      out[at + i] = v < high ? v : low;
    }
  });
}

void FillNormal(const RandomKey& key, uint64_t first, float* out, int64_t n, double mean,
                double stddev) {
  const float a = static_cast<float>(mean), b = static_cast<float>(stddev);
  ForTiles<1>(WordsOf(key), first, n, [&](const uint32_t* words, int64_t at, int64_t count) {
    Dense().random.normal(words, out + at, count, a, b);
  });
}
void FillNormal(const RandomKey& key, uint64_t first, double* out, int64_t n, double mean,
                double stddev) {
  ForTiles<2>(WordsOf(key), first, n, [&](const uint32_t* words, int64_t at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      out[at + i] = mean + stddev * kernels::NormalFromBits64(Wide(words + 2 * i));
    }
  });
}

void FillTruncatedNormal(const RandomKey& key, uint64_t first, float* out, int64_t n, double mean,
                         double stddev) {
  const float a = static_cast<float>(mean), b = static_cast<float>(stddev);
  ForTiles<1>(WordsOf(key), first, n, [&](const uint32_t* words, int64_t at, int64_t count) {
    Dense().random.truncated_normal(words, out + at, count, a, b);
  });
}
void FillTruncatedNormal(const RandomKey& key, uint64_t first, double* out, int64_t n, double mean,
                         double stddev) {
  ForTiles<2>(WordsOf(key), first, n, [&](const uint32_t* words, int64_t at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      out[at + i] = mean + stddev * kernels::TruncatedNormalFromBits64(Wide(words + 2 * i));
    }
  });
}

void FillBernoulli(const RandomKey& key, uint64_t first, bool* out, int64_t n, double p) {
  const uint64_t limit = kernels::WordLimit(p);
  if (limit == 0) {
    std::fill_n(out, n, false);
    return;
  }
  ForTiles<1>(WordsOf(key), first, n, [&](const uint32_t* words, int64_t at, int64_t count) {
    Dense().random.at_most(words, out + at, count, static_cast<uint32_t>(limit - 1));
  });
}

DropoutLaw DropoutLawOf(const RandomKey& key, double rate) {
  const Words w = WordsOf(key);
  const uint64_t limit = kernels::WordLimit(1 - rate);
  if (limit == 0) return {{w.key[0], w.key[1]}, 0, w.step, 0};
  return {{w.key[0], w.key[1]}, static_cast<uint32_t>(limit - 1), w.step, 1 / (1 - rate)};
}

template <class T>
void Dropout(const RandomKey& key, uint64_t first, const T* x, T* y, int64_t n, double rate) {
  const uint64_t limit = kernels::WordLimit(1 - rate);
  if (limit == 0) {
    std::fill_n(y, n, T(0));
    return;
  }
  const T scale = static_cast<T>(1 / (1 - rate));
  const uint32_t last = static_cast<uint32_t>(limit - 1);
  ForTiles<1>(WordsOf(key), first, n, [&](const uint32_t* words, int64_t at, int64_t count) {
    if constexpr (sizeof(T) == 4) {
      Dense().random.dropout(words, x + at, y + at, count, last, scale);
    } else {
      for (int64_t i = 0; i < count; ++i) y[at + i] = words[i] <= last ? x[at + i] * scale : T(0);
    }
  });
}
template void Dropout<float>(const RandomKey&, uint64_t, const float*, float*, int64_t, double);
template void Dropout<double>(const RandomKey&, uint64_t, const double*, double*, int64_t, double);

}  // namespace ostria
