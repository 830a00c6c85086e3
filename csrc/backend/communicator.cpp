// SPDX-License-Identifier: Apache-2.0
#include "backend/communicator.h"

namespace ostria {
namespace {

thread_local Communicator* current = nullptr;
thread_local ReduceOrder current_order = ReduceOrder::kAny;

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

void Communicator::BeginAllReduce(std::string_view what, void* data, int64_t count, DType dtype,
                                  ReduceOp op, ReduceOrder order) {
  AllReduce(what, data, count, dtype, op, order);
}
bool Communicator::Advance(bool /*wait*/) { return true; }

Communicator* Communicator::Current() { return current; }
ReduceOrder Communicator::CurrentOrder() { return current_order; }

Communicator::Scope::Scope(Communicator* communicator, ReduceOrder order)
    : outer_(current), outer_order_(current_order) {
  current = communicator;
  current_order = order;
}
Communicator::Scope::~Scope() {
  current = outer_;
  current_order = outer_order_;
}

}  // namespace ostria
