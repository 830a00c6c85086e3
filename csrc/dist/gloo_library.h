// SPDX-License-Identifier: Apache-2.0
// The transport between hosts, which is a library of its own: libostria_gloo.so needs Debian's
// libgloo0. It is opened when first used.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "dist/group.h"
#include "dist/key_values.h"

namespace ostria {

struct GlooOptions : GroupOptions {
  std::string interface;  // of the network ("eth0"), or an address or name of this host
};

/// Of the group's keys; see AbortWires.
std::string GlooPrefix(const GlooOptions& options);

using MakeGlooFn = std::unique_ptr<Communicator> (*)(int rank, int size,
                                                     std::shared_ptr<KeyValues> key_values,
                                                     const GlooOptions& options);

/// Joins the group: blocks until all `size` ranks are connected. `key_values` carries addresses,
/// and the reason when a rank ends the group. Throws Error(kDistributed) that names who is missing,
/// or what the library lacks.
std::unique_ptr<Communicator> MakeGloo(int rank, int size, std::shared_ptr<KeyValues> key_values,
                                       const GlooOptions& options);

/// Opens the first of `paths` that can be opened. Throws Error(kDistributed): what was tried and
/// what to install, or both build ids.
MakeGlooFn LoadGloo(std::span<const std::string> paths);

}  // namespace ostria

extern "C" {
/// Of libostria_gloo.so: null where `build_id` is not its own, which it tells.
ostria::MakeGlooFn ostria_gloo_entry(const char* build_id, const char** own_build_id);
}
