// SPDX-License-Identifier: Apache-2.0
// Random well-typed groups: closed graphs of elementwise ops, broadcasts, casts and folds over one
// iteration space. Functions that jump (comparisons, casts to integers) read inputs alone, so that
// a rounding difference stays small.
#pragma once

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "core/tensor.h"
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {

class RandomBody {
 public:
  explicit RandomBody(uint32_t seed) : random_(seed) {}

  Graph Make() {
    Graph g;
    Builder b(g, 0);
    Space();
    const DType dtype = Chance(8) ? DType::kFloat64 : DType::kFloat32;
    for (int i = 0, n = 1 + Pick(4); i < n; ++i) AddInput(b, dtype);
    pool_.push_back(g.AddInput("full", {dtype, Shape::FromSizes(sizes_)}, 0));
    exact_.push_back(pool_.back());
    for (int i = 0, n = 1 + Pick(12); i < n; ++i) Step(b, dtype);
    AddOutputs(b);
    return g;
  }

  Tensor Data(const ValueType& type) {
    Tensor t = Tensor::Empty(type.dtype, type.shape);
    const int64_t n = type.shape.numel();
    DispatchDType(type.dtype, [&]<class T>(T*) {
      T* p = static_cast<T*>(t.raw());
      for (int64_t i = 0; i < n; ++i) {
        const double x = std::uniform_real_distribution<double>(-1, 1)(random_);
        if constexpr (std::is_same_v<T, bool>) {
          p[i] = x > 0;
        } else if constexpr (std::is_integral_v<T>) {
          p[i] = static_cast<T>(x * 5 + 5);
        } else {
          p[i] = T(static_cast<float>(x));
        }
      }
    });
    return t;
  }

 private:
  int Pick(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  bool Chance(int n) { return Pick(n) == 0; }
  Value AnyOf(const std::vector<Value>& from) { return from[Pick(static_cast<int>(from.size()))]; }

  void Space() {
    constexpr std::array<int64_t, 12> kSizes = {1, 2, 3, 5, 7, 8, 16, 17, 33, 64, 130, 700};
    sizes_.clear();
    int64_t n = 1;
    for (int d = 0, rank = 1 + Pick(4); d < rank; ++d) {
      const int64_t size = kSizes[Pick(12)];
      sizes_.push_back(n * size > 40000 ? 2 : size);
      n *= sizes_.back();
    }
    columns_ = Pick(static_cast<int>(sizes_.size()) + 1);
  }

  void AddInput(Builder& b, DType dtype) {
    std::vector<int64_t> sizes = sizes_;
    for (int64_t& s : sizes) {
      if (Chance(3)) s = 1;
    }
    if (Chance(3)) sizes.erase(sizes.begin(), sizes.begin() + Pick(static_cast<int>(sizes.size())));
    const int kind = Pick(8);
    const DType types[] = {DType::kBFloat16, DType::kFloat16, DType::kInt32};
    const DType own = kind < 3 ? types[kind] : dtype;
    const Value v = b.graph().AddInput("x", {own, Shape::FromSizes(sizes)}, 0);
    const Value same = own == dtype ? v : b(ops::kCast, {v}, {dtype});
    pool_.push_back(same);
    exact_.push_back(same);
  }

  void Step(Builder& b, DType dtype) {
    const OpDef* const unary[] = {&ops::kTanh, &ops::kSigmoid,  &ops::kAbs,  &ops::kNegative,
                                  &ops::kGelu, &ops::kSoftplus, &ops::kRelu, &ops::kErf};
    const OpDef* const binary[] = {&ops::kAdd, &ops::kSubtract, &ops::kMaximum, &ops::kMinimum,
                                   &ops::kMultiply};
    switch (Pick(10)) {
      case 0:
      case 1: pool_.push_back(b(*unary[Pick(8)], {AnyOf(pool_)})); return;
      case 2: pool_.push_back(b(ops::kExp, {b(ops::kTanh, {AnyOf(pool_)})})); return;
      case 3: {
        const Value c =
            b(Chance(2) ? ops::kLess : ops::kGreaterEqual, {AnyOf(exact_), AnyOf(exact_)});
        pool_.push_back(b(ops::kWhere, {c, AnyOf(pool_), AnyOf(pool_)}));
        return;
      }
      case 4: return Fold(b);
      case 5: {
        const Value x = AnyOf(exact_);
        const Value whole = b(ops::kCast, {b(ops::kFloor, {x})}, {DType::kInt32});
        pool_.push_back(b(ops::kCast, {b(ops::kMultiply, {whole, whole})}, {dtype}));
        return;
      }
      case 6: return Dropout(b);
      case 7: return Normalise(b, dtype);
      default: pool_.push_back(b(*binary[Pick(5)], {AnyOf(pool_), AnyOf(pool_)})); return;
    }
  }

  // The values that cover the space.
  std::vector<Value> Full(Builder& b) const {
    std::vector<Value> full;
    for (Value v : pool_) {
      if (b.shape(v) == Shape::FromSizes(sizes_)) full.push_back(v);
    }
    return full;
  }

  void Dropout(Builder& b) {
    const std::vector<Value> full = Full(b);
    if (full.empty()) return;
    const Value key = b.graph().AddInput("key", {DType::kInt64, {2}}, 0);
    const Value offset = b.graph().AddInput("offset", {DType::kInt64, {}}, 0);
    const auto stream = static_cast<int64_t>(uint64_t{random_()} << 31 | random_() >> 1);
    pool_.push_back(b(ops::kDropout, {AnyOf(full), key, offset}, {0.1 * Pick(10), stream}));
  }

  // Bounded values, and an epsilon that keeps rounding differences small.
  void Normalise(Builder& b, DType dtype) {
    const std::vector<Value> full = Full(b);
    if (full.empty() || columns_ == 0) return;
    const Shape columns = Shape::FromSizes({sizes_.end() - columns_, sizes_.end()});
    const auto vector = [&] { return b.graph().AddInput("vector", {dtype, columns}, 0); };
    const Value x = b(ops::kTanh, {AnyOf(full)}), scale = vector();
    const bool center = Chance(2);
    const std::vector<Attr> forward = {0.1, int64_t{columns_}}, backward = {int64_t{columns_}};
    const std::vector<Value> y = center ? b.Multi(ops::kLayerNorm, {x, scale, vector()}, forward)
                                        : b.Multi(ops::kRmsNorm, {x, scale}, forward);
    pool_.push_back(y[0]);
    if (Chance(2)) stored_.insert(stored_.end(), y.begin() + 1, y.end());
    if (Chance(2)) return;
    const Value g = b(ops::kTanh, {AnyOf(full)});
    std::vector<Value> in = {g, b(ops::kTanh, {AnyOf(full)}), scale};
    const Shape rows = Shape::FromSizes({sizes_.begin(), sizes_.end() - columns_});
    for (int i = center ? 0 : 1; i < 2; ++i) {
      in.push_back(b.graph().AddInput("per row", {dtype, rows}, 0));
    }
    const std::vector<Value> d =
        b.Multi(center ? ops::kLayerNormGrad : ops::kRmsNormGrad, in, backward);
    pool_.push_back(d[0]);
    // Sums over the rows; of no rows they are values of the space.
    if (rows.rank() > 0 && Chance(2)) stored_.insert(stored_.end(), d.begin() + 1, d.end());
  }

  void Fold(Builder& b) {
    const OpDef* const folds[] = {&ops::kSum, &ops::kMean, &ops::kMax, &ops::kMin};
    const std::vector<Value> full = Full(b);
    const bool over_rows = Chance(3);
    std::vector<int64_t> axes;
    const int rank = static_cast<int>(sizes_.size());
    for (int d = 0; d < rank; ++d) {
      if ((d < rank - columns_) == over_rows) axes.push_back(d);
    }
    if (full.empty() || axes.empty()) return;
    Value x = AnyOf(full);
    // A value that does not vary along some axes, written out.
    if (Chance(4)) x = b(ops::kBroadcastTo, {AnyOf(pool_)}, {Shape::FromSizes(sizes_)});
    // A fold that is stored as a half type, of bounded values and no sum: single ops round them.
    const bool half_fold = over_rows && Chance(2);
    if (half_fold) {
      const DType half = Chance(2) ? DType::kFloat16 : DType::kBFloat16;
      x = b(ops::kCast, {b(ops::kTanh, {x})}, {half});
    }
    const bool keep = !over_rows || Chance(2);
    // A mean keeps sums of many elements small.
    const int fold = over_rows && !half_fold ? Pick(2) : 1 + Pick(3);
    const Value y = b(*folds[fold], {x}, {axes, keep});
    (over_rows ? stored_ : pool_).push_back(y);
  }

  void AddOutputs(Builder& b) {
    Graph& g = b.graph();
    std::vector<Value> outputs = stored_;
    for (int i = 0, n = 1 + Pick(3); i < n; ++i) {
      Value v = AnyOf(pool_);
      if (i == 0) v = pool_.back();
      if (!g.producer(v).valid()) v = b(ops::kNegative, {v});
      if (Chance(6)) v = b(ops::kCast, {v}, {DType::kBFloat16});
      outputs.push_back(v);
    }
    for (Value v : outputs) g.AddOutput("y", v);
  }

  std::mt19937 random_;
  std::vector<int64_t> sizes_;
  int columns_ = 0;
  std::vector<Value> pool_, exact_, stored_;
};

}  // namespace ostria
