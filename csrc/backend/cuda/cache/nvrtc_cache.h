// SPDX-License-Identifier: Apache-2.0
// Generated kernels, compiled once: in this process, and across processes through files. A plan
// says what it will want while it is prepared; the first that is bound has all of it compiled,
// several kernels to a source, sources in threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/cache/content_hash.h"

namespace ostria::cuda {

struct KernelImage {
  std::string cubin;
  std::string name;  // of this content: its hash
};

class NvrtcCache {
 public:
  /// How many kernels were asked for that differ; how many of them were compiled here, and how many
  /// came from files; how many sources were given to the compiler.
  struct Counts {
    int64_t distinct = 0, compiled = 0, loaded = 0, sources = 0;
  };

  static NvrtcCache& Get();
  NvrtcCache() = default;
  NvrtcCache(const NvrtcCache&) = delete;
  NvrtcCache& operator=(const NvrtcCache&) = delete;

  /// `text` (see GeneratedLoop) will be wanted for a capability, 90 for 9.0. Needs no device and no
  /// compiler.
  void Expect(const std::string& text, int capability);
  /// A cubin that holds the kernels of `text`, perhaps among others. Throws Error(kInternal) with
  /// the compiler's log, Error(kDeviceUnavailable) where there is no compiler.
  std::shared_ptr<const KernelImage> Image(const std::string& text, int capability);
  Counts counts() const;

 private:
  using Key = std::pair<std::string, int>;  // text and capability
  struct Wanted {
    const std::string* text = nullptr;
    ContentHash hash;  // of everything that the result depends on
    std::shared_ptr<const KernelImage> image;
    std::string error;
  };
  void CompileAll(std::vector<Wanted>* wanted, int capability);

  mutable std::mutex mutex_;                                  // guards what follows
  std::mutex compile_mutex_;                                  // one batch at a time
  std::map<Key, std::shared_ptr<const KernelImage>> images_;  // nullptr: wanted
  int64_t pending_ = 0;
  Counts counts_;
};

/// Options of the compiler: part of what a compiled kernel depends on.
std::vector<std::string> NvrtcOptions(int capability);

}  // namespace ostria::cuda
