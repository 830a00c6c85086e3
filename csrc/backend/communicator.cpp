// SPDX-License-Identifier: Apache-2.0
#include "backend/communicator.h"

namespace ostria {
namespace {

thread_local Communicator* current = nullptr;

}  // namespace

std::string_view ToString(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum: return "sum";
    case ReduceOp::kMin: return "min";
    case ReduceOp::kMax: return "max";
  }
  return "?";
}

void Communicator::Start(int /*slot*/, std::string_view what, void* data, int64_t count,
                         DType dtype, ReduceOp op, ReduceOrder order) {
  AllReduce(what, data, count, dtype, op, order);
}
void Communicator::Wait(int /*slot*/) {}
void Communicator::Settle() {}

Communicator* Communicator::Current() { return current; }

Communicator::Scope::Scope(Communicator* communicator) : outer_(current) { current = communicator; }
Communicator::Scope::~Scope() { current = outer_; }

}  // namespace ostria
