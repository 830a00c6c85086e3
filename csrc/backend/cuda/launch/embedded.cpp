// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/launch/embedded.h"

#include "base/check.h"

namespace ostria::cuda {

std::string_view EmbeddedKernels(std::string_view file) {
  for (const Embedded& e : AllEmbedded()) {
    if (e.file == file) return e.image;
  }
  Fail(ErrorCode::kInternal, "there are no kernels '", file, "'");
}

}  // namespace ostria::cuda
