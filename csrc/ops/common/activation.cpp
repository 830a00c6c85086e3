// SPDX-License-Identifier: Apache-2.0
#include "ops/common/activation.h"

#include "ops/ops.h"

namespace ostria::ops {
namespace {

struct Row {
  std::string_view name;
  const OpDef* op;
  bool approximate = false;  // gelu's attribute
};
constexpr Row kRows[] = {{"none", nullptr},      {"relu", &kRelu}, {"tanh", &kTanh},
                         {"sigmoid", &kSigmoid}, {"gelu", &kGelu}, {"gelu_tanh", &kGelu, true},
                         {"silu", &kSilu}};

}  // namespace

bool ParseActivation(std::string_view text, Activation* out) {
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (kRows[i].name == text) {
      *out = static_cast<Activation>(i);
      return true;
    }
  }
  return false;
}

Activation ActivationOf(const OpDef& op, std::span<const Attr> attrs) {
  for (size_t i = 1; i < std::size(kRows); ++i) {
    if (kRows[i].op != &op) continue;
    if (&op == &kGelu && std::get<bool>(attrs[0]) != kRows[i].approximate) continue;
    return static_cast<Activation>(i);
  }
  return Activation::kNone;
}

std::string_view Name(Activation activation) { return kRows[static_cast<int>(activation)].name; }

Value Apply(Builder& b, Activation activation, Value x) {
  const Row& row = kRows[static_cast<int>(activation)];
  if (row.op == nullptr) return x;
  return row.op == &kGelu ? b(kGelu, {x}, {row.approximate}) : b(*row.op, {x});
}

Activation ActivationGradOf(const OpDef& op, std::span<const Attr> attrs) {
  if (&op == &kReluGrad) return Activation::kRelu;
  const bool gelu = &op == &kGeluGrad && std::get<bool>(attrs[0]);
  return gelu ? Activation::kGeluTanh : Activation::kNone;
}

Activation RequireActivation(const InferContext& c, int attr) {
  Activation activation;
  const std::string& text = c.attr<std::string>(attr);
  if (!ParseActivation(text, &activation)) {
    c.Fail("activation '", text, "' is unknown; it must be one of ",
           Join(kRows, ", ", [](const Row& row) { return row.name; }));
  }
  return activation;
}

}  // namespace ostria::ops
