// SPDX-License-Identifier: Apache-2.0
// The compiled files of kernels/, which lie in the library's read-only data.
#pragma once

#include <span>
#include <string_view>

namespace ostria::cuda {

struct Embedded {
  std::string_view file;   // "fill/fill": of kernels/fill/fill.cu
  std::string_view image;  // a cubin or fatbin
};

std::span<const Embedded> AllEmbedded();
/// The compute capabilities that they were compiled for: 90 is 9.0.
std::span<const int> EmbeddedArchitectures();
/// Throws Error(kInternal) for a file that does not exist.
std::string_view EmbeddedKernels(std::string_view file);

}  // namespace ostria::cuda
