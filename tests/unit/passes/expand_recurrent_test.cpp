// SPDX-License-Identifier: Apache-2.0
#include "golden.h"
#include "ops/common/control.h"
#include "passes/pipeline.h"

namespace ostria {
namespace {

constexpr std::string_view kLstm = R"(input %x "x": float32[2, 3, 5]
input %w "w": float32[5, 16]
input %r "r": float32[4, 16]
input %b "b": float32[16]
input %h "h": float32[2, 4]
%y: float32[2, 3, 4], %l: float32[2, 4], %c: float32[2, 4], %g: float32[2, 3, 16], %s: float32[2, 3, 4] = lstm@1(%x, %w, %r, %b, %h, %h)
output "y" %y
)";

PassContext Gpu(bool supports) {
  return {.device = DeviceKind::kCuda, .has_kernel = [supports](auto&&...) { return supports; }};
}

TEST(ExpandRecurrent, FusesTheStepThatNoImplementationTakes) {
  Graph g = Parse("ostria-graph 1\n" + std::string(kLstm));
  Optimise(g, Gpu(false));
  EXPECT_EQ(Print(g).find("lstm@1"), std::string::npos);
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    if (!g.is(n, ops::kScan)) continue;
    const std::string body = Print(*g.attr<Body>(n, ops::ScanAttr::kBody));
    EXPECT_NE(body.find("fused@1"), std::string::npos) << body;
    return;
  }
  FAIL() << "there is no loop";
}

TEST(ExpandRecurrent, LeavesWhatAnImplementationTakes) {
  EXPECT_NE(After(ExpandRecurrent, std::string(kLstm), Gpu(true)).find("lstm@1"),
            std::string::npos);
  EXPECT_EQ(After(ExpandRecurrent, std::string(kLstm), Gpu(false)).find("lstm@1"),
            std::string::npos);
}

}  // namespace
}  // namespace ostria
