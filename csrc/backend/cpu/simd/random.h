// SPDX-License-Identifier: Apache-2.0
// Counter-based random fills: element i of (seed, stream, step) is a pure function of those four
// numbers (kernels/scalar/philox.h), whatever the range, the threads or the instruction set.
#pragma once

#include <cstdint>

namespace ostria {

struct RandomKey {
  uint64_t seed = 0;
  uint64_t stream = 0;  // which draw of the program, e.g. a hash of the module path
  uint64_t step = 0;    // changes with every step
};

/// The 32-bit words of elements [first, first + n).
void FillRandomBits(const RandomKey& key, uint64_t first, uint32_t* out, int64_t n);
/// Uniform in [low, high), of 24 (float) or 53 (double) bits.
void FillUniform(const RandomKey& key, uint64_t first, float* out, int64_t n, double low,
                 double high);
void FillUniform(const RandomKey& key, uint64_t first, double* out, int64_t n, double low,
                 double high);
void FillNormal(const RandomKey& key, uint64_t first, float* out, int64_t n, double mean,
                double stddev);
void FillNormal(const RandomKey& key, uint64_t first, double* out, int64_t n, double mean,
                double stddev);
/// The normal restricted to two standard deviations around the mean.
void FillTruncatedNormal(const RandomKey& key, uint64_t first, float* out, int64_t n, double mean,
                         double stddev);
void FillTruncatedNormal(const RandomKey& key, uint64_t first, double* out, int64_t n, double mean,
                         double stddev);
/// True with probability p, one 32-bit word per element.
void FillBernoulli(const RandomKey& key, uint64_t first, bool* out, int64_t n, double p);
/// What Dropout does to element i: keeps it, times `factor`, where the word of element i is at most
/// `last`. For loops that draw the words themselves.
struct DropoutLaw {
  uint32_t key[2], last;
  uint64_t step;
  double factor;
};
DropoutLaw DropoutLawOf(const RandomKey& key, double rate);
/// y = x / (1 - rate) where FillBernoulli(key, first, .., 1 - rate) is true, else 0; y may be x.
/// The same call on the gradient is the backward pass.
template <class T>
void Dropout(const RandomKey& key, uint64_t first, const T* x, T* y, int64_t n, double rate);

}  // namespace ostria
