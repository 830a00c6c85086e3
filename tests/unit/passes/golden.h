// SPDX-License-Identifier: Apache-2.0
// Golden text tests of passes: graph text in, graph text out.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "passes/pass.h"

namespace ostria {

/// The text after the pass and removal of what it left dead. Holds every pass to its contract: a
/// sound graph comes out, and a second run changes nothing.
inline std::string After(PassFn pass, const std::string& text, const PassContext& context = {}) {
  Graph g = Parse("ostria-graph 1\n" + text);
  pass(g, context);
  Verify(g, "pass");
  EliminateDeadCode(g, context);
  Verify(g, "dce");
  for (int i = 0; i < 4 && pass(g, context); ++i) {
    EXPECT_LT(i, 3) << "the pass never comes to rest";
    EliminateDeadCode(g, context);
  }
  Verify(g, "pass, again");
  const std::string out = Print(g);
  return out.substr(out.find('\n') + 1);
}

}  // namespace ostria
