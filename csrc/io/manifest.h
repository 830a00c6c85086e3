// SPDX-License-Identifier: Apache-2.0
// The manifest of a checkpoint: what its tensor file must hold (dtype, shape, checksum of every
// tensor), small texts such as iterator state, and the step. JSON that carries its own checksum in
// its last line. Invariant: an accepted manifest is byte for byte one that was written.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/dtype.h"
#include "core/shape.h"
#include "io/tensor_file.h"

namespace ostria {

struct Manifest {
  struct Entry {
    DType dtype = DType::kFloat32;
    Shape shape;
    uint32_t crc32c = 0;
  };

  int64_t step = 0;
  double saved_at = 0;    // seconds since 1970
  double started_at = 0;  // of the first checkpoint of this series
  std::map<std::string, Entry> tensors;
  std::map<std::string, std::string> blobs;  // any bytes
  Metadata metadata;                         // text
};

inline constexpr std::string_view kManifestFormat = "ostria-checkpoint 1";

/// Throws Error(kInvalidArgument) when a name or a metadata value is not UTF-8.
std::string FormatManifest(const Manifest& manifest);

/// Throws Error(kDataCorruption) with `name` and the offset.
Manifest ParseManifest(std::string_view text, std::string_view name);

namespace internal {
/// `body`, a manifest's text without its last line, with that line.
std::string SealManifest(std::string body);
}  // namespace internal

}  // namespace ostria
