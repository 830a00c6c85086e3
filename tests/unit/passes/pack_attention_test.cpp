// SPDX-License-Identifier: Apache-2.0
// Golden texts of join_slice_grads and pack_attention.
#include "golden.h"

namespace ostria {
namespace {

TEST(JoinSliceGrads, JoinsPartsOfAnAxisInTheirOrder) {
  EXPECT_EQ(After(JoinSliceGrads, R"(input %a "a": float32[4, 2]
input %b "b": float32[4, 1]
input %c "c": float32[4, 3]
%1: float32[4, 6] = slice_grad@1(%a) {shape = shape[4, 6], start = ints[0, 4], stop = ints[9, 9], step = ints[1, 1]}
%2: float32[4, 6] = slice_grad@1(%b) {shape = shape[4, 6], start = ints[0, 0], stop = ints[9, 1], step = ints[1, 1]}
%3: float32[4, 6] = add@1(%1, %2)
%4: float32[4, 6] = slice_grad@1(%c) {shape = shape[4, 6], start = ints[0, 1], stop = ints[9, -2], step = ints[]}
%5: float32[4, 6] = add@1(%4, %3)
output "5" %5
)"),
            R"(input %0 "a": float32[4, 2]
input %1 "b": float32[4, 1]
input %2 "c": float32[4, 3]
%3: float32[4, 6] = concat@1(%1, %2, %0) {axis = 1}
output "5" %3
)");
}

// A gap, an overlap, a step, another axis, another term, a sum that somebody else reads.
TEST(JoinSliceGrads, LeavesWhatIsNoPartition) {
  const std::string head = R"(input %a "a": float32[4, 2]
input %b "b": float32[4, 2]
input %y "y": float32[4, 4]
input %z "z": float32[4, 5]
%1: float32[4, 4] = slice_grad@1(%a) {shape = shape[4, 4], start = ints[0, 0], stop = ints[4, 2]}
%2: float32[4, 4] = slice_grad@1(%b) {shape = shape[4, 4], start = ints[0, 1], stop = ints[4, 3]}
%3: float32[4, 4] = slice_grad@1(%b) {shape = shape[4, 4], start = ints[0, 0], stop = ints[4, 4], step = ints[1, 2]}
%4: float32[4, 4] = slice_grad@1(%b) {shape = shape[4, 4], start = ints[0, 2], stop = ints[4, 4]}
%5: float32[4, 5] = slice_grad@1(%a) {shape = shape[4, 5], start = ints[0, 0], stop = ints[4, 2]}
%6: float32[4, 5] = slice_grad@1(%b) {shape = shape[4, 5], start = ints[0, 2], stop = ints[4, 4]}
)";
  for (const char* rest :
       {"%r: float32[4, 4] = add@1(%1, %2)\noutput \"r\" %r\n",
        "%r: float32[4, 4] = add@1(%1, %3)\noutput \"r\" %r\n",
        "%r: float32[4, 4] = add@1(%1, %y)\noutput \"r\" %r\n",
        "%r: float32[4, 5] = add@1(%5, %6)\noutput \"r\" %r\n",
        "%r: float32[4, 4] = add@1(%1, %4)\noutput \"r\" %r\noutput \"1\" %1\n"}) {
    const std::string after = After(JoinSliceGrads, head + rest);
    EXPECT_EQ(after.find("concat"), std::string::npos) << after;
  }
}

constexpr std::string_view kSlices = R"(input %x "x": bfloat16[2, 5, 32]
input %g "g": bfloat16[2, 5, 16]
%1: bfloat16[2, 5, 16] = slice@1(%x) {start = ints[0, 0, 0], stop = ints[9, 9, 16], step = ints[1, 1, 1]}
%2: bfloat16[2, 5, 8] = slice@1(%x) {start = ints[0, 0, 16], stop = ints[9, 9, 24], step = ints[1, 1, 1]}
%3: bfloat16[2, 5, 8] = slice@1(%x) {start = ints[0, 0, 24], stop = ints[9, 9, 32], step = ints[1, 1, 1]}
%q: bfloat16[2, 5, 4, 4] = reshape@1(%1) {shape = shape[2, 5, 4, 4]}
%k: bfloat16[2, 5, 2, 4] = reshape@1(%2) {shape = shape[2, 5, 2, 4]}
%v: bfloat16[2, 5, 2, 4] = reshape@1(%3) {shape = shape[2, 5, 2, 4]}
)";
const std::string kForward =
    "%y: bfloat16[2, 5, 4, 4], %l: float32[2, 4, 5] = attention@1(%q, %k, %v) {causal = true, "
    "scale = 0.5}\n";
const std::string kBackward =
    R"(%h: bfloat16[2, 5, 4, 4] = reshape@1(%g) {shape = shape[2, 5, 4, 4]}
%dq: bfloat16[2, 5, 4, 4], %dk: bfloat16[2, 5, 2, 4], %dv: bfloat16[2, 5, 2, 4] = attention_grad@1(%h, %y, %l, %q, %k, %v) {causal = true, scale = 0.5}
%4: bfloat16[2, 5, 16] = reshape@1(%dq) {shape = shape[2, 5, 16]}
%5: bfloat16[2, 5, 8] = reshape@1(%dk) {shape = shape[2, 5, 8]}
%6: bfloat16[2, 5, 8] = reshape@1(%dv) {shape = shape[2, 5, 8]}
%7: bfloat16[2, 5, 32] = concat@1(%4, %5, %6) {axis = -1}
output "dx" %7
)";

TEST(PackAttention, ReadsAndWritesWhereTheProductLies) {
  EXPECT_EQ(After(PackAttention, std::string(kSlices) + kForward + kBackward),
            R"(input %0 "x": bfloat16[2, 5, 32]
input %1 "g": bfloat16[2, 5, 16]
%2: bfloat16[2, 5, 4, 4], %3: float32[2, 4, 5] = attention_packed@1(%0) {causal = true, scale = 0.5, heads = 4, kv_heads = 2}
%4: bfloat16[2, 5, 4, 4] = reshape@1(%1) {shape = shape[2, 5, 4, 4]}
%5: bfloat16[2, 5, 32] = attention_packed_grad@1(%4, %2, %3, %0) {causal = true, scale = 0.5, heads = 4, kv_heads = 2}
output "dx" %5
)");
}

TEST(PackAttention, AsksTheDevice) {
  PassContext context;
  context.has_kernel = [](const OpDef& op, std::span<const Attr>, std::span<const ValueType>) {
    return &op != &ops::kAttentionPackedGrad;
  };
  const std::string after =
      After(PackAttention, std::string(kSlices) + kForward + kBackward, context);
  EXPECT_NE(after.find(" = attention_packed@1"), std::string::npos) << after;
  EXPECT_NE(after.find(" = attention_grad@1"), std::string::npos) << after;
}

// Operands in another order, of two tensors, of a part of one; dropout; a gradient that others
// read.
TEST(PackAttention, LeavesWhatDoesNotLieThere) {
  const std::string out = "output \"y\" %y\n", slices(kSlices);
  const std::string swapped =
      "%y: bfloat16[2, 5, 4, 4], %l: float32[2, 4, 5] = attention@1(%q, %v, %k)\n";
  const std::string key = "input %key \"key\": int64[2]\ninput %offset \"offset\": int64[]\n";
  const std::string dropped =
      "%y: bfloat16[2, 5, 4, 4], %l: float32[2, 4, 5] = attention@1(%q, %k, %v, %key, %offset) "
      "{dropout = 0.5}\n";
  std::string wider = slices;
  for (size_t at; (at = wider.find("5, 32]")) != std::string::npos;) wider.replace(at, 6, "5, 40]");
  for (const std::string& text :
       {slices + swapped + out, key + slices + dropped + out, wider + kForward + out}) {
    const std::string after = After(PackAttention, text);
    EXPECT_EQ(after.find("attention_packed"), std::string::npos) << after;
  }
  const std::string read =
      After(PackAttention, slices + kForward + kBackward + "output \"dk\" %dk\n");
  EXPECT_EQ(read.find("attention_packed_grad"), std::string::npos) << read;
}

}  // namespace
}  // namespace ostria
