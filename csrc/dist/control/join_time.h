// SPDX-License-Identifier: Apache-2.0
// How long ranks take to meet, measured on one machine: threads that join as processes would, each
// by a connection of its own over the loopback. One machine does the work of all hosts, and the
// network costs nothing.
#pragma once

namespace ostria::control {

/// Seconds from the first connection until every one of `ranks` (at least 1) knows all others.
/// Throws what Client does, and std::system_error where the system gives no more threads.
double MeasureJoin(int ranks);

}  // namespace ostria::control
