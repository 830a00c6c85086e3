// SPDX-License-Identifier: Apache-2.0
// What nodes of take_along_axis and put_along_axis have in common, whatever computes them.
#pragma once

#include "backend/kernel.h"

namespace ostria {

/// The axis that indices pick along, from 0 on.
int AlongAxisOf(const NodeDesc& node);
/// Yes where other inputs have the first one's sizes but along the axis, where they have as many as
/// there are indices: what broadcasts, the ops' decompositions repeat first.
Support NothingBroadcastsAlong(const NodeDesc& node);

}  // namespace ostria
