// SPDX-License-Identifier: Apache-2.0
// Libraries of ours that are opened when first used: a backend, transports. Each has one C symbol,
// behind which are C++ interfaces, so it must come from the same build as libostria.so.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"

namespace ostria {

/// One of them: how it is found, and what is said where it is not.
struct OwnLibrary {
  const char* entry;  // symbol: null where the given build id is not its own, which it tells
  ErrorCode code;     // of the errors
  std::string
      lacking;  // begins the error where it cannot be opened: what needs it, what to install
};

/// What is found of such a library, for a diagnosis.
struct FoundLibrary {
  std::string path;      // empty: none was found
  std::string build_id;  // its own; ours is OwnBuildId()
  std::string error;     // empty: it is of use
};

std::string_view OwnBuildId();
/// Where libostria.so lies, with a slash at the end; empty where that is not known.
std::string OwnFolder();

/// Opens the first of `paths` that can be opened; the address of its entry, or null. Throws: what
/// was tried and why each was refused.
void* OpenOwnLibrary(const OwnLibrary& library, std::span<const std::string> paths,
                     FoundLibrary* found);
/// Throws that the library found is of another build, with both ids.
[[noreturn]] void RefuseBuild(const OwnLibrary& library, const FoundLibrary& found);

/// What the entry of the first of `paths` gives, a pointer. Throws as the two above.
template <class T>
T LoadOwnLibrary(const OwnLibrary& library, std::span<const std::string> paths,
                 FoundLibrary* found = nullptr) {
  FoundLibrary here;
  if (found == nullptr) found = &here;
  using Entry = T (*)(const char* build_id, const char** other_build_id);
  const auto entry = reinterpret_cast<Entry>(OpenOwnLibrary(library, paths, found));
  const char* other = nullptr;
  const T made = entry == nullptr ? nullptr : entry(OwnBuildId().data(), &other);
  found->build_id = other == nullptr ? "unknown" : other;
  if (made == nullptr) RefuseBuild(library, *found);
  return made;
}

/// The backend in the first of `paths` that can be opened; throws Error(kDeviceUnavailable).
Backend* LoadBackendLibrary(std::span<const std::string> paths);
/// Of libostria_cuda.so; throws nothing.
FoundLibrary FindCudaLibrary();

/// Where packages of the running Python lie ("…/site-packages"): wheels of NVIDIA's unpack there.
/// The package says it on import, before any library is looked for.
void SetWheelFolders(std::vector<std::string> folders);
const std::vector<std::string>& WheelFolders();

}  // namespace ostria
