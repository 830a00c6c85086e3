// SPDX-License-Identifier: Apache-2.0
#include "golden.h"
#include "ops/ops.h"

namespace ostria {
namespace {

// A device whose library takes layers of this many steps or more.
PassContext Library(int64_t least) {
  return {.device = DeviceKind::kCuda, .has_kernel = [least](const OpDef& op, auto, auto inputs) {
            const bool grad = &op == &ops::kRecurrentLayerGrad;
            if (!grad && &op != &ops::kRecurrentLayer) return false;
            return inputs[grad ? 1 : 0].shape[1].value() >= least;
          }};
}

std::string Lstm(std::string_view attrs, std::string_view output) {
  return StrCat(R"(input %x "x": float32[2, 3, 5]
input %w "w": float32[5, 16]
input %r "r": float32[4, 16]
input %b "b": float32[16]
input %h "h": float32[2, 4]
%y: float32[2, 3, 4], %l: float32[2, 4], %c: float32[2, 4], %g: float32[2, 3, 16], %s: float32[2, 3, 4] = lstm@1(%x, %w, %r, %b, %h, %h))",
                attrs, R"(
%dx: float32[2, 3, 5], %dw: float32[5, 16], %dr: float32[4, 16], %db: float32[16], %dh: float32[2, 4], %dc: float32[2, 4] = lstm_grad@1(%y, %l, %c, %x, %w, %r, %h, %h, %y, %g, %s))",
                attrs, "\noutput \"dw\" %dw\noutput \"y\" %y\noutput \"last\" %c\n", output);
}

constexpr std::string_view kGru = R"(input %x "x": float32[2, 3, 5]
input %w "w": float32[5, 12]
input %r "r": float32[4, 12]
input %b "b": float32[2, 12]
input %h "h": float32[2, 4]
%y: float32[2, 3, 4], %l: float32[2, 4], %g: float32[2, 3, 16] = gru@1(%x, %w, %r, %b, %h)
%dx: float32[2, 3, 5], %dw: float32[5, 12], %dr: float32[4, 12], %db: float32[2, 12], %dh: float32[2, 4] = gru_grad@1(%y, %l, %x, %w, %r, %h, %y, %g)
output "db" %db
)";

TEST(RecurrentLayers, TakeALayerAndItsGradientTogether) {
  EXPECT_EQ(After(RecurrentLayers, Lstm("", ""), Library(3)), R"(input %0 "x": float32[2, 3, 5]
input %1 "w": float32[5, 16]
input %2 "r": float32[4, 16]
input %3 "b": float32[16]
input %4 "h": float32[2, 4]
%5: float32[2, 3, 4], %6: float32[1144], %7: float32[2, 4], %8: float32[2, 4] = recurrent_layer@1(%0, %1, %2, %3, %4, %4) {cell = "lstm"}
%9: float32[2, 3, 5], %10: float32[5, 16], %11: float32[4, 16], %12: float32[16], %13: float32[2, 4], %14: float32[2, 4] = recurrent_layer_grad@1(%5, %0, %1, %2, %3, %5, %6, %7, %4, %8, %4) {cell = "lstm"}
output "dw" %10
output "y" %5
output "last" %8
)");
  EXPECT_EQ(After(RecurrentLayers, std::string(kGru), Library(3)),
            R"(input %0 "x": float32[2, 3, 5]
input %1 "w": float32[5, 12]
input %2 "r": float32[4, 12]
input %3 "b": float32[2, 12]
input %4 "h": float32[2, 4]
%5: float32[2, 3, 4], %6: float32[1168], %7: float32[2, 4] = recurrent_layer@1(%0, %1, %2, %3, %4) {cell = "gru"}
%8: float32[2, 3, 5], %9: float32[5, 12], %10: float32[4, 12], %11: float32[2, 12], %12: float32[2, 4] = recurrent_layer_grad@1(%5, %0, %1, %2, %3, %5, %6, %7, %4) {cell = "gru"}
output "db" %11
)");
}

TEST(RecurrentLayers, LeaveWhatTheLibraryDoesDifferently) {
  const auto stays = [](const std::string& text, const PassContext& context) {
    return After(RecurrentLayers, text, context).find("recurrent_layer") == std::string::npos;
  };
  EXPECT_TRUE(stays(Lstm("", ""), Library(4)));                       // refused
  EXPECT_TRUE(stays(Lstm(" {reverse = true}", ""), Library(3)));      // backwards
  EXPECT_TRUE(stays(Lstm("", "output \"gates\" %g\n"), Library(3)));  // somebody else reads gates
  EXPECT_TRUE(stays(Lstm("", ""), {.device = DeviceKind::kCuda}));    // nobody to ask
  const std::string lengths = R"(input %x "x": float32[2, 3, 5]
input %w "w": float32[5, 12]
input %r "r": float32[4, 12]
input %b "b": float32[2, 12]
input %h "h": float32[2, 4]
input %n "n": int32[2]
%y: float32[2, 3, 4], %l: float32[2, 4], %g: float32[2, 3, 16] = gru@1(%x, %w, %r, %b, %h, %n)
output "y" %y
)";
  EXPECT_TRUE(stays(lengths, Library(3)));
}

}  // namespace
}  // namespace ostria
