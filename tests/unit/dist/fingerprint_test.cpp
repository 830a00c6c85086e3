// SPDX-License-Identifier: Apache-2.0
#include "dist/fingerprint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace ostria {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const char* const kText = R"(ostria-graph 1
input %0 "x": float32[batch, 4]
state %1 "dense/kernel": float32[4, 2]
%2: float32[batch, 2] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
%3: float32[2] = sum@1(%2) {axis = ints[0], keepdims = false}
%4: float32[2] = all_reduce@1(%3) {reduction = "sum", calls = ints[]}
output "y" %4
)";

Fingerprint Of(std::string text, std::string_view from = "", std::string_view to = "") {
  if (!from.empty()) text.replace(text.find(from), from.size(), to);
  return FingerprintOf(Parse(text));
}

TEST(Fingerprint, IsTheSameForTheSameGraphAndAnotherForAnother) {
  const Fingerprint a = Of(kText);
  EXPECT_EQ(ToString(a.hash), ToString(Of(kText).hash));
  // Known bits: ranks with builds of different compilers compare them.
  EXPECT_EQ(ToString(a.hash), "65001fbe28f2e5bb14ffafa9a450b624e9eb02d42bbd4c76d1a50272e3f5d0f9");
  std::set<std::string> hashes = {ToString(a.hash)};
  for (const auto& [from, to] : {std::pair("batch, 4", "rows, 4"),
                                 {"dense/kernel", "dense/k"},
                                 {"\"sum\"", "\"max\""},
                                 {"output \"y\" %4", "output \"y\" %3"}}) {
    std::string text = kText;
    if (std::string(from) == "batch, 4") {
      for (size_t at; (at = text.find("batch")) != std::string::npos;) text.replace(at, 5, "rows");
      EXPECT_TRUE(hashes.insert(ToString(Of(text).hash)).second) << from;
      continue;
    }
    EXPECT_TRUE(hashes.insert(ToString(Of(kText, from, to).hash)).second) << from;
  }
  EXPECT_EQ(ToString(a.hash).size(), 64u);
}

TEST(Fingerprint, KeepsLinesReadable) {
  const Fingerprint f = Of(kText);
  EXPECT_EQ(f.lines[3],
            "%2: float32[batch, 2] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}");
  EXPECT_EQ(f.lines[5], "%4: float32[2] = all_reduce@1(%3) {reduction = \"sum\", calls = ints[]}");
}

TEST(Fingerprint, ShortensALargeConstantButTellsItFromAnother) {
  const auto graph = [](float last) {
    Graph g;
    Tensor t = Tensor::Zeros(DType::kFloat32, {1000});
    t.data<float>()[999] = last;
    const Value v = g.result(g.AddNode(*FindOp("constant"), {}, {t}, 0));
    g.AddOutput("y", v);
    return g;
  };
  const Fingerprint a = FingerprintOf(graph(0)), b = FingerprintOf(graph(1));
  for (const std::string& line : a.lines) EXPECT_LT(line.size(), 400u);
  EXPECT_NE(a.hash, b.hash);
  EXPECT_NE(a.lines, b.lines);
}

}  // namespace
}  // namespace ostria
