// SPDX-License-Identifier: Apache-2.0
#include "golden.h"

namespace ostria {
namespace {

const char* const kHead = R"(input %ids "ids": int64[8]
input %dy "dy": float32[8, 4]
input %lr "lr": float32[]
input %commit "commit": bool[]
state %w "w": float32[1000, 4]
state %a "a": float32[1000, 4]
state %b "b": float32[1000, 4]
%one: float32[] = full@1() {shape = [], value = 1}
%zeros: float32[1000, 4] = full@1() {shape = [1000, 4], value = 0}
%y: float32[8, 4] = gather@1(%w, %ids)
)";
const char* const kScatter = "%g: float32[1000, 4] = scatter_add@1(%zeros, %ids, %dy)\n";
const char* const kTail = "update %w = %new\noutput \"y\" %y\n";

struct Outcome {
  std::string graph, report;
};

Outcome Apply(const std::string& text) {
  std::vector<std::string> report;
  PassContext context;
  Graph g = Parse("ostria-graph 1\n" + text);
  context.report = &report;
  RowUpdates(g, context);
  return {After(RowUpdates, text), report.empty() ? "" : report[0]};
}

TEST(RowUpdates, GiveTheUpdateTheCheckAndTheNormRowsOnly) {
  const Outcome got = Apply(std::string(kHead) + kScatter + R"(%ok: bool[] = all_finite@1(%g)
%both: bool[] = logical_and@1(%ok, %commit)
%norm: float32[] = global_norm@1(%g)
%new: float32[1000, 4] = sgd_update@1(%w, %g, %lr, %norm, %both)
)" + kTail);
  EXPECT_EQ(got.graph,
            R"(input %0 "ids": int64[8]
input %1 "dy": float32[8, 4]
input %2 "lr": float32[]
input %3 "commit": bool[]
state %4 "w": float32[1000, 4]
state %5 "a": float32[1000, 4]
state %6 "b": float32[1000, 4]
%7: float32[8, 4] = gather@1(%4, %0) {axis = 0}
%8: float32[8, 4], %9: int32[9] = sum_rows@1(%0, %1) {tables = ints[0], sizes = ints[1000], columns = ints[]}
%10: bool[] = all_finite@1(%8) {outer = ints[]}
%11: bool[] = logical_and@1(%10, %3)
%12: float32[] = global_norm@1(%8)
%13: float32[1000, 4] = sgd_update@1(%4, %8, %2, %12, %11, %9) {weight_decay = 0, decay = ints[], rates = ints[], outer = ints[-1]}
output "y" %7
update %4 = %13
)");
  EXPECT_EQ(got.report, "table w float32[1000, 4]: by rows, at most 8 a step");
}

TEST(RowUpdates, TakeSeveralGathersInTheOrderOfTheirAdditions) {
  const Outcome got = Apply(std::string(kHead) + kScatter + R"(%dz: float32[8, 4] = negative@1(%dy)
%h: float32[1000, 4] = scatter_add@1(%zeros, %ids, %dz)
%both: float32[1000, 4] = add@1(%h, %g)
%new: float32[1000, 4] = sgd_update@1(%w, %both, %lr, %one, %commit)
)" + kTail);
  EXPECT_NE(got.graph.find("sum_rows@1(%0, %0, %9, %1) {tables = ints[0, 0]"), std::string::npos)
      << got.graph;
  EXPECT_EQ(got.graph.find("scatter_add"), std::string::npos);
}

// Scaling and clipping, and sums of sums, as of micro-batches, with the order of additions.
TEST(RowUpdates, ComputeWithRowsWhatKeepsZeros) {
  const Outcome scaled = Apply(std::string(kHead) + kScatter + R"(%ok: bool[] = all_finite@1(%g)
%half: float32[1000, 4] = divide@1(%g, %lr)
%norm: float32[] = global_norm@1(%half)
%small: float32[1000, 4] = clip@1(%half) {min = -1, max = 1}
%new: float32[1000, 4] = sgd_update@1(%w, %small, %lr, %norm, %ok)
)" + kTail);
  EXPECT_EQ(scaled.report, "table w float32[1000, 4]: by rows, at most 8 a step");
  EXPECT_NE(scaled.graph.find(
                R"(= sum_rows@1(%0, %1) {tables = ints[0], sizes = ints[1000], columns = ints[]}
%10: bool[] = all_finite@1(%8) {outer = ints[]}
%11: float32[8, 4] = divide@1(%8, %2)
%12: float32[] = global_norm@1(%11)
%13: float32[8, 4] = clip@1(%11) {min = -1, max = 1}
)"),
            std::string::npos)
      << scaled.graph;
  const Outcome joined =
      Apply(std::string(kHead) + kScatter + R"(%dz: float32[8, 4] = negative@1(%dy)
%h: float32[1000, 4] = scatter_add@1(%zeros, %ids, %dz)
%a1: float32[1000, 4] = add@1(%g, %h)
%a2: float32[1000, 4] = divide@1(%h, %lr)
%both: float32[1000, 4] = add@1(%a1, %a2)
%new: float32[1000, 4] = sgd_update@1(%w, %both, %lr, %one, %commit)
)" + kTail);
  EXPECT_EQ(joined.report,
            "table w float32[1000, 4]: dense: a part of its gradient has another reader");
  const Outcome summed =
      Apply(std::string(kHead) + kScatter + R"(%dz: float32[8, 4] = negative@1(%dy)
%h: float32[1000, 4] = scatter_add@1(%zeros, %ids, %dz)
%i: float32[1000, 4] = scatter_add@1(%zeros, %ids, %y)
%a1: float32[1000, 4] = add@1(%g, %h)
%a2: float32[1000, 4] = divide@1(%i, %lr)
%both: float32[1000, 4] = add@1(%a1, %a2)
%new: float32[1000, 4] = sgd_update@1(%w, %both, %lr, %one, %commit)
)" + kTail);
  EXPECT_EQ(summed.report, "table w float32[1000, 4]: by rows, at most 24 a step");
  EXPECT_EQ(summed.graph.find("scatter_add"), std::string::npos) << summed.graph;
}

TEST(RowUpdates, NameATableThatABodyReads) {
  const std::string text = std::string(kHead) + R"(%c: float32[1000, 4] = multiply@1(%w, %lr)
%new: float32[1000, 4] = sgd_update@1(%w, %c, %lr, %one, %commit)
%z: float32[8, 4] = call@1(%a, %ids) {body = {
  input %0 "table": float32[1000, 4]
  input %1 "ids": int64[8]
  %2: float32[8, 4] = gather@1(%0, %1)
  output "y" %2
}}
%d: float32[1000, 4] = multiply@1(%b, %lr)
%newa: float32[1000, 4] = sgd_update@1(%a, %d, %lr, %one, %commit)
update %a = %newa
output "z" %z
)" + kTail;
  std::vector<std::string> report;
  PassContext context;
  Graph g = Parse("ostria-graph 1\n" + text);
  context.report = &report;
  RowUpdates(g, context);
  ASSERT_EQ(report.size(), 2u);
  EXPECT_EQ(report[1], "table a float32[1000, 4]: dense: its gradient comes from multiply");
}

// Every update keeps what it cannot do without, and says why.
TEST(RowUpdates, SayWhyATableStaysDense) {
  const std::string head = std::string(kHead) + kScatter;
  const std::string sgd = "%new: float32[1000, 4] = sgd_update@1(%w, %g, %lr, %one, %commit)\n";
  const std::string adam =
      "%step: int64[] = full@1() {shape = [], dtype = int64, value = 1}\n"
      "%new: float32[1000, 4], %m: float32[1000, 4], %v: float32[1000, 4] = "
      "adam_update@1(%w, %g, %a, %b, %lr, %step, %one, %commit)";
  const struct {
    std::string text, why;
  } cases[] = {
      {head + adam + "\n", "adam_update is not exact by rows; lazy=True"},
      {head + "%new: float32[1000, 4], %v: float32[1000, 4] = momentum_update@1(%w, %g, %a, %lr, "
              "%one, %commit) {momentum = 0.5}\n",
       "momentum_update is not exact by rows"},
      {head + "%new: float32[1000, 4] = sgd_update@1(%w, %g, %lr, %one, %commit) {weight_decay = "
              "0.5}\n",
       "weight decay moves every row; exclude_from_weight_decay"},
      {head + sgd + "output \"g\" %g\n", "its gradient is a result too"},
      {head + "%n: float32[1000, 4] = negative@1(%g)\n" + sgd + "output \"n\" %n\n",
       "negative reads its whole gradient"},
      {std::string(kHead) + "%g: float32[1000, 4] = multiply@1(%w, %lr)\n" + sgd,
       "its gradient comes from multiply"},
      {std::string(kHead) +
           "%s: float32[1000, 4] = scatter_add@1(%zeros, %ids, %dy)\n"
           "%p: float32[1000, 4] = multiply@1(%w, %lr)\n%g: float32[1000, 4] = add@1(%s, %p)\n" +
           sgd,
       "its gradient also comes from multiply"},
      {head +
           "%h: float32[1000, 4] = scatter_add@1(%zeros, %ids, %dy)\n"
           "%p: float32[1000, 4] = add@1(%g, %h)\n"
           "%new: float32[1000, 4] = sgd_update@1(%w, %p, %lr, %one, %commit)\noutput \"h\" %h\n",
       "a part of its gradient has another reader"},
      {std::string(kHead) + "%g: float32[1000, 4] = scatter_add@1(%a, %ids, %dy)\n" + sgd,
       "its gradient is not added to zeros by rows"},
  };
  for (const auto& c : cases) {
    const Outcome got = Apply(c.text + kTail);
    EXPECT_EQ(got.report, "table w float32[1000, 4]: dense: " + c.why) << c.text;
    EXPECT_EQ(got.graph.find("sum_rows"), std::string::npos) << c.text;
  }
  const Outcome lazy = Apply(head + adam + " {lazy = true}\n" + kTail);
  EXPECT_EQ(lazy.report, "table w float32[1000, 4]: by rows, at most 8 a step");
}

// Two tables of one update: one sum for both, unless a gradient is read before the next is there.
TEST(RowUpdates, SumAllTablesOfAnUpdateAtOnceWhereTheyCan) {
  const std::string update =
      "%new: float32[1000, 4], %newa: float32[1000, 4] = "
      "sgd_update@1(%w, %a, %g, %h, %lr, %one, %both)\nupdate %a = %newa\noutput \"z\" %z\n";
  const std::string other =
      "%z: float32[8, 4] = gather@1(%a, %ids)\n"
      "%h: float32[1000, 4] = scatter_add@1(%zeros, %ids, %dy)\n";
  const std::string check =
      "%ok: bool[] = all_finite@1(%g)\n%both: bool[] = logical_and@1(%ok, %commit)\n";
  const auto count = [](const std::string& graph) {
    int n = 0;
    for (size_t at = 0; (at = graph.find("= sum_rows", at)) != std::string::npos; ++at) ++n;
    return n;
  };
  const std::string head = std::string(kHead) + kScatter;
  const std::string after = Apply(head + other + check + update + kTail).graph;
  EXPECT_EQ(count(after), 1) << after;
  const std::string before = Apply(head + check + other + update + kTail).graph;
  EXPECT_EQ(count(before), 2) << before;
  EXPECT_EQ(before.find("scatter_add"), std::string::npos) << before;
}

// The gradient of a table whose rows were joined with others is columns of a gradient.
TEST(RowUpdates, ReadColumnsWhereTheyAre) {
  const Outcome got =
      Apply(std::string(kHead) + R"(%wide: float32[8, 9] = full@1() {shape = [8, 9], value = 2}
%cut: float32[8, 4] = slice_at@1(%wide) {axis = -1, start = [3], size = [4]}
%g: float32[1000, 4] = scatter_add@1(%zeros, %ids, %cut)
%new: float32[1000, 4] = sgd_update@1(%w, %g, %lr, %one, %commit)
)" + kTail);
  EXPECT_NE(got.graph.find("{tables = ints[0], sizes = ints[1000], columns = ints[3, 4]}"),
            std::string::npos)
      << got.graph;
  EXPECT_EQ(got.graph.find("slice_at"), std::string::npos) << got.graph;
}

TEST(RowUpdates, LeaveSmallTablesAlone) {
  std::string text = std::string(kHead) + kScatter +
                     "%new: float32[1000, 4] = sgd_update@1(%w, %g, %lr, %one, %commit)\n" + kTail;
  for (size_t at; (at = text.find("1000")) != std::string::npos;) text.replace(at, 4, "8");
  EXPECT_EQ(Apply(text).report, "table w float32[8, 4]: dense: 8 ids for 8 rows");
}

}  // namespace
}  // namespace ostria
