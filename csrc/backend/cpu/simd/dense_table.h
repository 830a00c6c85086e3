// SPDX-License-Identifier: Apache-2.0
// The hand-written loops, one table per instruction set: serial functions over raw ranges, to which
// the drivers (reduce.cpp, rows.cpp, optimizer.cpp, random.cpp) add threads. Plain data only, no
// inline code.
#pragma once

#include <cstdint>

namespace ostria {

enum class FoldOp : uint8_t { kSum, kProd, kMax, kMin, kSumSquares };
inline constexpr int kNumFoldOps = 5;

/// Gradients of n weights: g[i]. With `rows`: of rows of n weights. Weight i of row r has the
/// gradient column[r] * g[i] with a column; else row ids[r] (r without ids) has g[r * n + i], and
/// is left alone where `lazy` says so and all of its gradient is 0.
template <class T>
struct Gradients {
  const T* g;
  const T* column = nullptr;
  int64_t rows = 0;
  const int32_t* ids = nullptr;
  bool lazy = false;
};

/// The elementwise update rules; kernels/optim/rules.h has a functor for each, in this order.
enum class OptimizerRule : uint8_t {
  kSgd,
  kMomentum,
  kAdam,
  kAdagrad,
  kRmsprop,
  kRmspropMomentum,
  kRmspropCentered,
  kAdadelta,
  kAdamax,
  kNadam,
  kFtrl,
  kLion,
  kEma,
};
inline constexpr int kNumOptimizerRules = 13;
inline constexpr int kMaxSlots = 3, kMaxRuleNumbers = 8;

struct UpdateParams {
  double keep = 1;  // what w is multiplied by first
  double grad_scale = 1;
  double c[kMaxRuleNumbers] = {};  // what `constants` made
};
template <class T>
struct UpdateKernel {
  int slots;
  /// The numbers of one step, from the op's own attributes (false is 0), the rate and the step.
  void (*constants)(const double* attrs, double lr, double step, double* c);
  void (*run)(const UpdateParams&, T* w, const Gradients<T>& g, T* const* slots, int64_t n);
};

struct LambParams {
  double beta1, beta2, epsilon;
  double correct1, correct2;  // 1 - beta^t
  double keep, grad_scale;
  double rate = 0;  // of lamb_move: lr times the ratio of norms
};

template <class T>
struct DenseKernels {
  // One value from n; pairwise, so the error of a sum grows with log n.
  T (*fold[kNumFoldOps])(const T* x, int64_t n);
  // The sum of x[i] * y[i], with the bits of a fold of the products.
  T (*dot)(const T* x, const T* y, int64_t n);
  // Columns [0, cols) over rows: out[c] = fold of x[r * stride + c]; pairwise over rows.
  void (*fold_columns[kNumFoldOps])(const T* x, int64_t rows, int64_t cols, int64_t stride, T* out);
  bool (*all_finite)(const T* x, int64_t n);

  // `stream`: results go past the caches; they must be aligned to 64 bytes, rows be whole vectors
  // and nothing be in place.
  void (*softmax)(const T* x, T* y, int64_t rows, int64_t cols, bool stream);
  void (*log_softmax)(const T* x, T* y, int64_t rows, int64_t cols, bool stream);
  void (*softmax_grad)(const T* y, const T* dy, T* dx, int64_t rows, int64_t cols, bool stream);
  void (*log_softmax_grad)(const T* y, const T* dy, T* dx, int64_t rows, int64_t cols, bool stream);
  // labels: int32 or int64; any of loss, dlogits and dloss may be null. First row with a bad label
  // or -1.
  int64_t (*sparse_softmax_xent)(const T* logits, const void* labels, bool wide_labels,
                                 const T* dloss, T* loss, T* dlogits, int64_t rows, int64_t cols);

  // y, mean and rstd may be null.
  void (*layer_norm)(const T* x, const T* gamma, const T* beta, double epsilon, T* y, T* mean,
                     T* rstd, int64_t rows, int64_t cols, bool stream);
  // Adds to dgamma and dbeta, which may be null, as may dx.
  void (*layer_norm_grad)(const T* x, const T* gamma, const T* mean, const T* rstd, const T* dy,
                          T* dx, T* dgamma, T* dbeta, int64_t rows, int64_t cols, bool stream);
  // The same without centering: mean, beta and dbeta must be null.
  decltype(layer_norm) rms_norm;
  decltype(layer_norm_grad) rms_norm_grad;
  // y = the sum of `count` neighbouring rows of x, each times its weight.
  void (*weighted_rows)(const T* x, const T* weights, int64_t count, int64_t cols, T* y);
  // Row r of y [rows, cols]: zero plus those rows of x, one by one, that pairs[starts[r]] up to
  // pairs[starts[r + 1]] name in their low halves; the first row of x, `stride` elements before the
  // second, has the name `first`.
  void (*sum_rows)(const T* x, int64_t stride, int64_t first, const uint64_t* pairs,
                   const int32_t* starts, int64_t rows, int64_t cols, T* y);

  UpdateKernel<T> updates[kNumOptimizerRules];
  // m' and v', and the sums of squares of the decayed w and of the move.
  void (*lamb_moments)(const LambParams&, const T* w, const T* g, T* m, T* v, int64_t n,
                       double* squares_w, double* squares_move);
  void (*lamb_move)(const LambParams&, T* w, const T* m, const T* v, int64_t n);
};

struct RandomKernels {
  // Blocks [first, first + blocks) of four words each.
  void (*bits)(const uint32_t key[2], uint64_t step, uint64_t first, int64_t blocks, uint32_t* out);
  void (*uniform)(const uint32_t* bits, float* out, int64_t n, float low, float high);
  void (*normal)(const uint32_t* bits, float* out, int64_t n, float mean, float stddev);
  // mask = word <= last; dropout keeps x * scale there and writes 0 elsewhere.
  void (*at_most)(const uint32_t* bits, bool* out, int64_t n, uint32_t last);
  void (*dropout)(const uint32_t* bits, const float* x, float* y, int64_t n, uint32_t last,
                  float scale);
  void (*truncated_normal)(const uint32_t* bits, float* out, int64_t n, float mean, float stddev);
};

struct DenseTable {
  DenseKernels<float> f32;
  DenseKernels<double> f64;
  RandomKernels random;
};
extern const DenseTable kDenseBaseline;
extern const DenseTable kDenseAvx2;
extern const DenseTable kDenseAvx512;

/// The table of CurrentIsa().
const DenseTable& Dense();
template <class T>
const DenseKernels<T>& DenseOf();
template <>
const DenseKernels<float>& DenseOf<float>();
template <>
const DenseKernels<double>& DenseOf<double>();

}  // namespace ostria
