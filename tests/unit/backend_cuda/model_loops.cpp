// SPDX-License-Identifier: Apache-2.0
#include "backend_cuda/model_loops.h"

#include <functional>

namespace ostria {
namespace {

constexpr DType kHalf = DType::kBFloat16, kSingle = DType::kFloat32;

class Maker {
 public:
  explicit Maker(int64_t rows) : rows_(rows) {}

  // `fill` makes the outputs from a builder.
  void Add(const char* name, const std::function<std::vector<Value>(Builder&)>& fill) {
    ModelLoop loop{name, {}};
    Builder b(loop.body, 0);
    for (Value v : fill(b)) loop.body.AddOutput("y", v);
    loops.push_back(std::move(loop));
  }
  Value In(Builder& b, DType dtype, const Shape& shape) const {
    return b.graph().AddInput("x", {dtype, shape}, 0);
  }
  Value Rows(Builder& b, DType dtype, int64_t columns) const {
    return In(b, dtype, Shape::FromSizes({{rows_, columns}}));
  }

  std::vector<ModelLoop> loops;

 private:
  int64_t rows_;
};

void AddElementwise(Maker& m) {
  m.Add("add_f32", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kAdd, {m.Rows(b, kSingle, 768), m.Rows(b, kSingle, 768)})};
  });
  m.Add("add_odd", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kAdd, {m.Rows(b, kSingle, 229), m.In(b, kSingle, {229})})};
  });
  m.Add("bias_gelu_bf16", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kGelu, {b(ops::kAdd, {m.Rows(b, kHalf, 3072), m.In(b, kHalf, {3072})})})};
  });
  m.Add("gelu_grad_bf16", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kGeluGrad, {m.Rows(b, kHalf, 3072), m.Rows(b, kHalf, 3072)})};
  });
  m.Add("cast_f32_bf16", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kCast, {m.Rows(b, kSingle, 768)}, {kHalf})};
  });
  m.Add("dropout_add_bf16", [&](Builder& b) -> std::vector<Value> {
    const Value key = m.In(b, DType::kInt64, {2}), offset = m.In(b, DType::kInt64, {});
    const Value x = b(ops::kDropout, {m.Rows(b, kHalf, 768), key, offset}, {0.1, int64_t{1} << 40});
    return {b(ops::kAdd, {x, m.Rows(b, kHalf, 768)})};
  });
  m.Add("adam_f32", [&](Builder& b) -> std::vector<Value> {
    const auto in = [&] { return m.Rows(b, kSingle, 768); };
    const auto number = [&] { return m.In(b, kSingle, {}); };
    const Value g = in(), mean = in(), var = in(), x = in(), lr = number(), b1 = number();
    const auto follow = [&](Value old, Value now) {
      return b(ops::kAdd, {b(ops::kMultiply, {b1, b(ops::kSubtract, {old, now})}), now});
    };
    const Value m1 = follow(mean, g), v1 = follow(var, b(ops::kSquare, {g}));
    const Value step =
        b(ops::kDivide, {m1, b(ops::kAdd, {b(ops::kSqrt, {b(ops::kAbs, {v1})}), lr})});
    return {b(ops::kSubtract, {x, b(ops::kMultiply, {lr, step})}), m1, v1};
  });
}

void AddRows(Maker& m) {
  m.Add("softmax_bf16", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kSoftmax, {m.Rows(b, kHalf, 1024)}, {int64_t{-1}})};
  });
  m.Add("softmax_short_f32", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kSoftmax, {m.Rows(b, kSingle, 10)}, {int64_t{-1}})};
  });
  m.Add("softmax_grad_f32", [&](Builder& b) -> std::vector<Value> {
    return {
        b(ops::kSoftmaxGrad, {m.Rows(b, kSingle, 2048), m.Rows(b, kSingle, 2048)}, {int64_t{-1}})};
  });
  m.Add("log_softmax_f32", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kLogSoftmax, {m.Rows(b, kSingle, 50304)}, {int64_t{-1}})};
  });
  m.Add("softmax_vocabulary_f32", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kSoftmax, {m.Rows(b, kSingle, 50257)}, {int64_t{-1}})};
  });
  m.Add("softmax_wide_f32", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kSoftmax, {m.Rows(b, kSingle, 100000)}, {int64_t{-1}})};
  });
  m.Add("softmax_long_bf16", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kSoftmax, {m.Rows(b, kHalf, 250000)}, {int64_t{-1}})};
  });
  m.Add("layer_norm_grad_wide_f32", [&](Builder& b) -> std::vector<Value> {
    const Value g = m.Rows(b, kSingle, 8192), x = m.Rows(b, kSingle, 8192);
    const Shape rows = Shape::FromSizes({{b.shape(g)[0].value()}});
    return b.Multi(ops::kLayerNormGrad,
                   {g, x, m.In(b, kSingle, {8192}), m.In(b, kSingle, rows), m.In(b, kSingle, rows)},
                   {int64_t{1}});
  });
  const auto single = [](Builder& b, Value v) { return b(ops::kCast, {v}, {kSingle}); };
  const auto half = [](Builder& b, Value v) { return b(ops::kCast, {v}, {kHalf}); };
  m.Add("add_layer_norm_bf16", [&](Builder& b) -> std::vector<Value> {
    const Value x = b(ops::kAdd, {m.Rows(b, kHalf, 768), m.Rows(b, kHalf, 768)});
    std::vector<Value> out =
        b.Multi(ops::kLayerNorm, {single(b, x), m.In(b, kSingle, {768}), m.In(b, kSingle, {768})},
                {1e-5, int64_t{1}});
    out[0] = half(b, out[0]);
    out.push_back(x);
    return out;
  });
  m.Add("rms_norm_f32", [&](Builder& b) -> std::vector<Value> {
    return b.Multi(ops::kRmsNorm, {m.Rows(b, kSingle, 4096), m.In(b, kSingle, {4096})},
                   {1e-5, int64_t{1}});
  });
  m.Add("layer_norm_grad_bf16", [&](Builder& b) -> std::vector<Value> {
    const Value g = m.Rows(b, kHalf, 768), x = m.Rows(b, kHalf, 768);
    const Shape rows = Shape::FromSizes({{b.shape(g)[0].value()}});
    std::vector<Value> out = b.Multi(ops::kLayerNormGrad,
                                     {single(b, g), single(b, x), m.In(b, kSingle, {768}),
                                      m.In(b, kSingle, rows), m.In(b, kSingle, rows)},
                                     {int64_t{1}});
    out[0] = half(b, out[0]);
    return out;
  });
  // As a transformer in bfloat16 has it: sums in float32, the skip's gradient, and that of a bias.
  m.Add("layer_norm_grad_add_bf16", [&](Builder& b) -> std::vector<Value> {
    const Value g = m.Rows(b, kHalf, 768), x = m.Rows(b, kSingle, 768);
    const Shape rows = Shape::FromSizes({{b.shape(g)[0].value()}});
    std::vector<Value> out = b.Multi(
        ops::kLayerNormGrad,
        {single(b, g), x, m.In(b, kSingle, {768}), m.In(b, kSingle, rows), m.In(b, kSingle, rows)},
        {int64_t{1}});
    out[0] = b(ops::kAdd, {out[0], m.Rows(b, kSingle, 768)});
    out.push_back(half(b, out[0]));
    out.push_back(b(ops::kSum, {out.back()}, {std::vector<int64_t>{0}, false}));
    return out;
  });
}

void AddColumns(Maker& m) {
  const std::vector<int64_t> rows_axis = {0};
  m.Add("bias_grad_bf16", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kSum, {b(ops::kCast, {m.Rows(b, kHalf, 768)}, {kSingle})}, {rows_axis, false})};
  });
  m.Add("batch_statistics_f16", [&](Builder& b) -> std::vector<Value> {
    const Value x = b(ops::kCast, {m.Rows(b, DType::kFloat16, 64)}, {kSingle});
    return {b(ops::kMean, {x}, {rows_axis, false}),
            b(ops::kMean, {b(ops::kSquare, {x})}, {rows_axis, false})};
  });
  m.Add("sum_of_squares_f32", [&](Builder& b) -> std::vector<Value> {
    return {b(ops::kSum, {b(ops::kSquare, {m.Rows(b, kSingle, 768)})},
              {std::vector<int64_t>{}, false})};
  });
}

}  // namespace

std::vector<ModelLoop> ModelLoops(int64_t rows) {
  Maker m(rows);
  AddElementwise(m);
  AddRows(m);
  AddColumns(m);
  return std::move(m.loops);
}

}  // namespace ostria
