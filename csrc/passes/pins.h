// SPDX-License-Identifier: Apache-2.0
// Ops of which one implementation is pinned, for tests and experiments: on this thread, until it is
// undone. Passes neither take such nodes apart nor join them with others, so that they reach it.
#pragma once

#include <string>
#include <string_view>

#include "ir/op_def.h"

namespace ostria {

/// The implementation that plans made on this thread use for `op`; null: they choose.
const std::string* PinOf(const OpDef& op);
/// Sets it; "" undoes it. Asks nothing about the name: see PinKernel (runtime/lower.h).
void SetPin(const OpDef& op, std::string_view impl);

}  // namespace ostria
