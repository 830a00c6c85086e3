// SPDX-License-Identifier: Apache-2.0
// Compiled kernels as files of a folder: <key>.ref names the content that holds a kernel,
// <content hash>.cubin is that content. What cannot be read, or is not what its name says, does not
// exist; what cannot be written is not kept.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backend/cuda/cache/content_hash.h"

namespace ostria::cuda {

class KernelFiles {
 public:
  /// In the cache folder of now.
  KernelFiles();
  /// The image that holds the kernel of `key`, or nullptr.
  std::shared_ptr<const std::string> Find(const ContentHash& key) const;
  void Keep(const ContentHash& key, const std::string& image) const;

 private:
  std::string folder_;  // empty: nowhere
};

}  // namespace ostria::cuda
