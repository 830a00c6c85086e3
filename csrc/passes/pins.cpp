// SPDX-License-Identifier: Apache-2.0
#include "passes/pins.h"

#include <unordered_map>

namespace ostria {
namespace {

std::unordered_map<const OpDef*, std::string>& Pins() {
  thread_local std::unordered_map<const OpDef*, std::string> pins;
  return pins;
}

}  // namespace

const std::string* PinOf(const OpDef& op) {
  const auto it = Pins().find(&op);
  return it == Pins().end() ? nullptr : &it->second;
}

void SetPin(const OpDef& op, std::string_view impl) {
  if (impl.empty()) {
    Pins().erase(&op);
  } else {
    Pins()[&op] = impl;
  }
}

}  // namespace ostria
