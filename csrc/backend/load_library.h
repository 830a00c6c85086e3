// SPDX-License-Identifier: Apache-2.0
// Backends that are libraries of their own. Both must come from the same build: behind the one C
// symbol are C++ interfaces.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"

namespace ostria {

/// Opens the first of `paths` that can be opened and asks it for the backend. Throws
/// Error(kDeviceUnavailable): what was tried, or both build ids.
Backend* LoadBackendLibrary(std::span<const std::string> paths);

/// What is found of libostria_cuda.so, for a diagnosis; throws nothing.
struct FoundLibrary {
  std::string path;      // empty: none was found
  std::string build_id;  // its own; ours is kBuildId
  std::string error;     // empty: it is of use
};
FoundLibrary FindCudaLibrary();
std::string_view OwnBuildId();

/// Where packages of the running Python lie ("…/site-packages"): wheels of NVIDIA's unpack there.
/// The package says it on import, before any library is looked for.
void SetWheelFolders(std::vector<std::string> folders);
const std::vector<std::string>& WheelFolders();

}  // namespace ostria
