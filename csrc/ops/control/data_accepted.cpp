// SPDX-License-Identifier: Apache-2.0
// Whether the data of a step were good, as a value: what a device that cannot stop in the middle
// of a step needs so that a bad index changes no state. Made by the pass guard_state.
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

constexpr InputDef kInputs[] = {{"decision", Arity::kOne, false},
                                {"checks", Arity::kVariadic, false}};
constexpr OutputDef kOutputs[] = {{"accepted"}, {"decided"}};

void Infer(InferContext& c) {
  const ValueType flag{DType::kBool, {}};
  if (c.input(0) != flag) {
    c.Fail("'decision' must be bool[], one truth value, but is ", c.input(0));
  }
  c.Out(flag);
  c.Out(flag);
}

// Where kernels run in the calling thread, one that refuses its data ends the run.
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  return {b(ops::kFull, {}, {Shape{}, DType::kBool, 1.0}), in[0]};
}

}  // namespace

constinit const OpDef ops::kDataAccepted = {
    .name = "data_accepted",
    .doc =
        "Whether no step before this one refused its data, such as an index out of range; bool[].\n"
        "The second result is also false where 'decision' is. Every op of the graph that checks "
        "data comes first: 'checks' are results of theirs, as long as nodes may move.",
    .inputs = kInputs,
    .outputs = kOutputs,
    .traits = {.pure = false, .internal = true},
    .infer = Infer,
    .grad = NoGrad("the results are bool"),
    .decompose = Decompose,
    .flops = NoFlops,
};

}  // namespace ostria
