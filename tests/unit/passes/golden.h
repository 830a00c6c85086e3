// SPDX-License-Identifier: Apache-2.0
// Golden text tests of passes: graph text in, graph text out.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "ops/ops.h"
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

/// What the passes leave: the ops of every fused node in brackets, other nodes by name, in order.
inline std::string UnitsAfter(std::initializer_list<PassFn> passes, const std::string& text,
                              const PassContext& context = {}) {
  Graph g = Parse("ostria-graph 1\n" + text);
  for (PassFn pass : passes) {
    pass(g, context);
    Verify(g, "pass");
  }
  EliminateDeadCode(g, context);
  std::string out;
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    if (!out.empty()) out += " ";
    if (!g.is(n, ops::kFused)) {
      out += g.op(n).name;
      continue;
    }
    out += "(";
    const Graph& body = *g.attr<Body>(n, 0);
    for (NodeId m = body.first(); m.valid(); m = body.next(m)) {
      if (out.back() != '(') out += " ";
      out += body.op(m).name;
    }
    out += ")";
  }
  return out;
}

}  // namespace ostria
