// SPDX-License-Identifier: Apache-2.0
// Generated kernels on the host against the reference.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "backend_cuda/evaluate.h"
#include "backend_cuda/loop_programs.h"
#include "loop/build.h"
#include "tests/unit/loop/random_body.h"

namespace ostria {
namespace {

struct Case {
  uint32_t seed;
  LoopProgram program;
  std::vector<Tensor> inputs, like;
};

Case MakeCase(uint32_t seed, RandomBody* random, const Graph& body, LoopProgram program) {
  Case c{seed, std::move(program), {}, {}};
  for (Value v : body.inputs()) c.inputs.push_back(random->Data(body.type(v)));
  for (Value v : body.outputs()) c.like.push_back(Tensor::Empty(body.dtype(v), body.shape(v)));
  return c;
}

TEST(CudaLoop, RandomProgramsAgreeWithTheReference) {
  std::vector<Case> cases;
  std::map<std::string_view, int> forms;
  for (uint32_t seed = 0; cases.size() < 320; ++seed) {
    RandomBody random(seed);
    const Graph body = random.Make();
    const auto program = BuildLoop(body);
    if (!program) continue;
    std::string why;
    const auto loop = cuda::GenerateLoop(*program, Sm90(), &why);
    ASSERT_TRUE(loop) << why << "\n" << Print(*program);
    ++forms[loop->form];
    cases.push_back(MakeCase(seed, &random, body, *program));
    ExpectLoop(*program);
  }
  for (const char* form : {"flat", "rows", "columns"}) EXPECT_GE(forms[form], 10) << form;
  for (const Case& c : cases) {
    const std::string what = StrCat("seed ", c.seed, "\n", Print(c.program));
    const std::vector<Tensor> want = RunLoopReference(c.program, c.inputs, c.like);
    // Other starts in memory take other paths; other orders of the threads must change nothing.
    const std::vector<Tensor> got = RunLoop(c.program, c.inputs, c.like, 0);
    SetThreadOrder(c.seed);
    const std::vector<Tensor> skewed = RunLoop(c.program, c.inputs, c.like, 1 + c.seed % 3);
    for (size_t k = 0; k < want.size(); ++k) {
      ExpectLoopClose(got[k], want[k], StrCat("output ", k, ", ", what));
      ASSERT_EQ(std::memcmp(got[k].raw(), skewed[k].raw(), static_cast<size_t>(got[k].bytes())), 0)
          << "misaligned, output " << k << ", " << what;
    }
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

}  // namespace
}  // namespace ostria
