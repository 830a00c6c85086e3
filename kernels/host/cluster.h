// SPDX-License-Identifier: Apache-2.0
// Clusters on the host: blocks that run at the same time and read each other's shared memory. Of
// the kernels, only generated ones know of them.
#pragma once

#include "kernels/host/shim.h"

namespace ostria::kernels::host {

/// Says of a function that so many neighbours along x of its blocks are a cluster. LaunchBody then
/// throws std::logic_error where they do not fill the grid, or are not whole warps.
struct Cluster {
  Cluster(Body body, unsigned blocks);
};

/// A barrier of all blocks of the cluster.
void SyncCluster();
/// The place in the dynamic shared memory of the cluster's block `rank` that `at` is in this one's.
/// Throws std::logic_error where there is none, or the block has ended.
const void* SharedOf(unsigned rank, const void* at);

}  // namespace ostria::kernels::host
