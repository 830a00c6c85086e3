// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/optimizer.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/simd/dense_table.h"
#include "backend/cpu/simd/flush_denormals.h"
#include "base/parallel.h"

namespace ostria {
namespace {

constexpr int64_t kBlock = 64;    // elements: threads meet at cache lines
constexpr int64_t kGrain = 8192;  // elements worth a thread: about four streams of 32 KB

// Where part `part` of `parts` begins in n elements: at a multiple of `unit`.
int64_t Cut(int64_t n, int64_t unit, int64_t part, int64_t parts) {
  return std::min((n + unit - 1) / unit * part / parts * unit, n);
}

// Every thread gets its share of every segment, of rows whole ones, of an outer product those whose
// products with a single example it also computes (kernels_linalg.cpp). Where two cores share no
// cache, a weight that one reads and the other writes costs several times as much.
template <class T, class Fn>
void ForSegments(const OptimizerSegment<T>* segments, int count, Fn fn) {
  int64_t elements = 0;
  for (int s = 0; s < count; ++s) elements += segments[s].n;
  const int64_t parts = std::clamp<int64_t>(elements / kGrain, 1, NumThreads());
  ParallelFor(parts, 1, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    for (int s = 0; s < count; ++s) {
      const OptimizerSegment<T>& all = segments[s];
      const bool by_rows = all.rows > 0;
      const int64_t unit = by_rows || all.column != nullptr ? all.cols : kBlock;
      const int64_t from = Cut(all.n, unit, begin, parts), to = Cut(all.n, unit, end, parts);
      if (from == to) continue;
      Gradients<T> g = {all.g};
      int64_t n = to - from, at = from;
      if (by_rows) {
        g = {all.g + from, nullptr, n / all.cols, all.ids, all.lazy};
        if (all.ids != nullptr) {
          g.ids += from / all.cols;
          at = 0;
        }
        n = all.cols;
      } else if (all.column != nullptr) {
        g = {all.g, all.column + from / all.cols, n / all.cols};
        n = all.cols;
      } else {
        g.g += from;
      }
      T* slots[kMaxSlots];
      for (int k = 0; k < kMaxSlots; ++k) {
        slots[k] = all.slots[k] == nullptr ? nullptr : all.slots[k] + at;
      }
      fn(all.w + at, g, slots, n);
    }
  });
}

// Sums over parts of n elements, cut at multiples of `unit`. The parts, and so the result, do not
// depend on the threads.
template <int kSums, class Fn>
void SumParts(int64_t n, int64_t unit, double (&sums)[kSums], Fn fn) {
  constexpr int kMaxParts = 64;
  double partial[kMaxParts][kSums] = {};
  const int64_t parts = std::clamp<int64_t>(n / kGrain, 1, kMaxParts);
  ParallelFor(parts, 1, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    for (int64_t part = begin; part < end; ++part) {
      fn(Cut(n, unit, part, parts), Cut(n, unit, part + 1, parts), partial[part]);
    }
  });
  for (int64_t part = 0; part < parts; ++part) {
    for (int k = 0; k < kSums; ++k) sums[k] += partial[part][k];
  }
}

}  // namespace

int NumSlots(OptimizerRule rule) { return DenseOf<float>().updates[static_cast<int>(rule)].slots; }

UpdateParams ParamsOf(OptimizerRule rule, const double* attrs, double lr, double step,
                      double weight_decay, double grad_scale) {
  UpdateParams p;
  p.keep = 1 - lr * weight_decay;
  p.grad_scale = grad_scale;
  DenseOf<float>().updates[static_cast<int>(rule)].constants(attrs, lr, step, p.c);
  return p;
}

template <class T>
void UpdateSegments(OptimizerRule rule, const UpdateParams& params,
                    const OptimizerSegment<T>* segments, int count) {
  const auto run = DenseOf<T>().updates[static_cast<int>(rule)].run;
  ForSegments(segments, count, [&](T* w, const Gradients<T>& g, T* const* slots, int64_t n) {
    run(params, w, g, slots, n);
  });
}

template <class T>
void LambUpdate(LambParams p, double lr, T* w, const T* g, T* m, T* v, int64_t n) {
  const DenseKernels<T>& kernels = DenseOf<T>();
  double squares[2] = {};  // of w, of the move
  SumParts(n, kBlock, squares, [&](int64_t from, int64_t to, double* sums) {
    kernels.lamb_moments(p, w + from, g + from, m + from, v + from, to - from, &sums[0], &sums[1]);
  });
  const bool both = squares[0] > 0 && squares[1] > 0;
  p.rate = both ? lr * std::sqrt(squares[0] / squares[1]) : lr;
  ParallelFor(n, kGrain, [&](int64_t from, int64_t to) {
    const FlushDenormals flush;
    kernels.lamb_move(p, w + from, m + from, v + from, to - from);
  });
}

namespace {

template <class T>
double MeanOf(const T* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  return sum / static_cast<double>(n);
}

// New moments of one matrix: means over its rows and over its columns of g^2 + epsilon1.
template <class T>
void MoveMoments(const AdafactorOptions& o, const T* g, T* r, T* c, int64_t rows, int64_t cols) {
  constexpr int64_t kWide = 64;  // columns added up at a time
  const auto square = [&](T x) {
    const double d = static_cast<double>(x) * o.grad_scale;
    return d * d + o.epsilon1;
  };
  const auto move = [&](T* moment, double now) {
    *moment = static_cast<T>(*moment + (now - *moment) * o.forget);
  };
  ParallelFor(rows, std::max<int64_t>(kGrain / cols, 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < cols; ++j) sum += square(g[i * cols + j]);
      move(r + i, sum / static_cast<double>(cols));
    }
  });
  const int64_t grain = std::max<int64_t>(kGrain / (rows * kWide), 1);
  ParallelFor((cols + kWide - 1) / kWide, grain, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kWide, count = std::min(kWide, cols - first);
      double sums[kWide] = {};
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < count; ++j) sums[j] += square(g[i * cols + first + j]);
      }
      for (int64_t j = 0; j < count; ++j) move(c + first + j, sums[j] / static_cast<double>(rows));
    }
  });
}

// Calls fn(i, move of element i) for elements [from, to), whole rows where there are moments of
// rows.
template <class T, class Fn>
void ForMoves(const AdafactorOptions& o, const T* g, const T* r, const T* c, int64_t rows,
              int64_t cols, int64_t from, int64_t to, Fn fn) {
  const T scale = static_cast<T>(o.grad_scale);
  if (rows == 0) {
    for (int64_t i = from; i < to; ++i) fn(i, g[i] * scale / std::sqrt(r[i]));
    return;
  }
  double mean = 0;
  for (int64_t i = from; i < to; i += cols) {
    const int64_t row = i / cols, matrix = row / rows;
    if (i == from || row % rows == 0) mean = MeanOf(r + matrix * rows, rows);
    const T share = static_cast<T>(static_cast<double>(r[row]) / mean);
    const T* of_cols = c + matrix * cols;
    for (int64_t j = 0; j < cols; ++j) {
      fn(i + j, g[i + j] * scale / std::sqrt(share * of_cols[j]));
    }
  }
}

}  // namespace

template <class T>
void AdafactorUpdate(const AdafactorOptions& o, T* w, const T* g, T* r, T* c, int64_t count,
                     int64_t rows, int64_t cols) {
  const int64_t n = count * std::max<int64_t>(rows, 1) * cols, unit = rows == 0 ? kBlock : cols;
  if (n == 0) return;
  for (int64_t k = 0; k < count && rows > 0; ++k) {
    MoveMoments(o, g + k * rows * cols, r + k * rows, c + k * cols, rows, cols);
  }
  const T keep = static_cast<T>(o.keep);
  double squares[2] = {};  // of w, of the move
  SumParts(n, unit, squares, [&](int64_t from, int64_t to, double* sums) {
    for (int64_t i = from; rows == 0 && i < to; ++i) {
      const double d = static_cast<double>(g[i]) * o.grad_scale;
      r[i] = static_cast<T>(r[i] + (d * d + o.epsilon1 - r[i]) * o.forget);
    }
    ForMoves(o, g, r, c, rows, cols, from, to, [&](int64_t i, T move) {
      const T kept = w[i] * keep;
      sums[0] += static_cast<double>(kept) * kept;
      sums[1] += static_cast<double>(move) * move;
    });
  });
  const auto rms = [n](double sum) { return std::sqrt(sum / static_cast<double>(n)); };
  const double clip = std::max(1.0, rms(squares[1]) / o.clip_threshold);
  const T rate = static_cast<T>(std::max(o.epsilon2, rms(squares[0])) * o.rate / clip);
  ParallelFor(n / unit + (n % unit != 0), std::max<int64_t>(kGrain / unit, 1),
              [&](int64_t begin, int64_t end) {
                const int64_t from = begin * unit, to = std::min(end * unit, n);
                ForMoves(o, g, r, c, rows, cols, from, to,
                         [&](int64_t i, T move) { w[i] = w[i] * keep - rate * move; });
              });
}

#define OSTRIA_OPTIMIZERS_FOR(T)                                                                  \
  template void UpdateSegments<T>(OptimizerRule, const UpdateParams&, const OptimizerSegment<T>*, \
                                  int);                                                           \
  template void LambUpdate<T>(LambParams, double, T*, const T*, T*, T*, int64_t);                 \
  template void AdafactorUpdate<T>(const AdafactorOptions&, T*, const T*, T*, T*, int64_t,        \
                                   int64_t, int64_t)
OSTRIA_OPTIMIZERS_FOR(float);
OSTRIA_OPTIMIZERS_FOR(double);
#undef OSTRIA_OPTIMIZERS_FOR

}  // namespace ostria
