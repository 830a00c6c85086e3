// SPDX-License-Identifier: Apache-2.0
// Graph text may come from a damaged file: whatever the parser lets through must survive
// verification, specialisation, differentiation and the passes, with the real ops' rules.
#include <cctype>
#include <random>

#include "autodiff/gradient.h"
#include "golden.h"
#include "ops/ops.h"
#include "passes/pipeline.h"

namespace ostria {
namespace {

constexpr const char* kSeeds[] = {
    R"(ostria-graph 1
input %0 "x": float32[batch, 4]
state %1 "w": float32[4, 3]
state %2 "b": float32[3]
%3: float32[batch, 3] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
%4: float32[batch, 3] = add@1(%3, %2)
%5: float32[batch, 3] = relu@1(%4)
%6: float32[batch] = max@1(%5) {axis = ints[-1], keepdims = false}
%7: float32[batch, 1] = reshape@1(%6) {shape = shape[batch, 1]}
%8: float32[batch, 3] = subtract@1(%5, %7)
%9: float32[] = mean@1(%8) {axis = ints[0, 1], keepdims = false}
%10: float32[4, 3] = full@1() {shape = shape[4, 3], dtype = float32, value = 0.5}
%11: float32[4, 3] = multiply@1(%1, %10)
output "loss" %9
update %1 = %11
)",
    R"(ostria-graph 1
input %0 "x": float32[2, 3, batch]
input %1 "i": int64[5]
%2: float32[3, batch, 2] = transpose@1(%0) {axes = ints[1, 2, 0]}
%3: float32[5, batch, 2] = gather@1(%2, %1) {axis = 0}
%4: float32[8, batch, 2] = concat@1(%2, %3) {axis = 0}
%5: float32[1, 8, batch, 2] = broadcast_to@1(%4) {shape = shape[1, 8, batch, 2]}
%6: float32[] = dim_product@1() {shape = shape[batch, 2], dtype = float32}
%7: float32[1, 8, batch, 2] = divide@1(%5, %6)
%8: float32[1, batch, 2] = sum@1(%7) {axis = ints[1], keepdims = false}
%9: float32[1, batch, 2] = call@1(%8) {body = {
  input %0 "u": float32[1, batch, 2]
  %1: float32[1, batch, 2] = clip@1(%0, %0, %0)
  output "v" %1
}, vjp = none}
output "y" %9
)"};

TEST(HostileText, NeverCrashesAnyStage) {
  const std::string_view pieces[] = {"-1",
                                     "0",
                                     "9223372036854775807",
                                     "-9223372036854775808",
                                     "nan",
                                     "inf",
                                     "batch",
                                     "batch - 1",
                                     "floordiv(batch, 0)",
                                     "float16",
                                     "bool",
                                     "int64[5]",
                                     "shape[]",
                                     "ints[]",
                                     "ints[0, 0]",
                                     "%0",
                                     "%3",
                                     "matmul@1",
                                     "max@1",
                                     "sum@1",
                                     "1000000",
                                     "[4294967296, 4294967296, 4294967296]",
                                     ", 1",
                                     "transpose@1"};
  std::mt19937 random(7);
  const auto below = [&](size_t n) { return random() % n; };
  int parsed = 0, optimised = 0;
  for (int i = 0; i < 30'000; ++i) {
    std::string text = kSeeds[below(std::size(kSeeds))];
    // One word for another, in one place or everywhere: that is what gets past the grammar.
    for (size_t edits = 1 + below(3); edits > 0; --edits) {
      const size_t at = 15 + below(text.size() - 15);
      size_t end = at;
      while (end < text.size() && std::isalnum(static_cast<unsigned char>(text[end])) != 0) ++end;
      const std::string word = text.substr(at, end - at);
      const std::string piece(below(3) == 0 ? std::to_string(below(5))
                                            : pieces[below(std::size(pieces))]);
      const bool everywhere = !word.empty() && below(3) > 0;
      size_t next = at;
      for (size_t from = everywhere ? 15 : at; next != std::string::npos;
           from = next + piece.size()) {
        next = everywhere ? text.find(word, from) : at;
        if (next == std::string::npos) break;
        const bool name = next > 0 && text[next - 1] == '%';  // values keep their names
        if (name)
          next += word.size();
        else
          text.replace(next, word.size(), piece);
        if (!everywhere || text.size() > 20'000) break;
      }
    }
    try {
      Graph g = Parse(text);
      ++parsed;
      Verify(g, "parse");
      std::vector<Value> wrt;
      for (const Value v : g.inputs())
        if (IsFloat(g.dtype(v))) wrt.push_back(v);
      for (const Value v : Gradients(g, {{g.outputs()[0]}}, {}, wrt)) g.AddOutput("d", v);
      Graph s = Specialise(g, {{"batch", static_cast<int64_t>(below(4))}});
      Optimise(s);
      Verify(s, "passes");
      ++optimised;
    } catch (const Error& e) {
      ASSERT_NE(e.code(), ErrorCode::kInternal) << e.what() << "\n" << text;
    }
  }
  std::printf("%d parsed, %d went through all stages\n", parsed, optimised);
  EXPECT_GT(optimised, 300);
}

}  // namespace
}  // namespace ostria
