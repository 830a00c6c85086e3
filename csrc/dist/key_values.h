// SPDX-License-Identifier: Apache-2.0
// The few words that ranks exchange before they have a transport: where a segment of memory is,
// which address listens, why a group ended. The control channel's store implements it; the two here
// are for ranks of one process and for processes that share a folder.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace ostria {

/// Text under names. Any thread may call, and any rank sees what any other set.
class KeyValues {
 public:
  virtual ~KeyValues() = default;
  /// Throws Error(kDistributed) where the store cannot be reached.
  virtual void Set(std::string_view key, std::string_view value) = 0;
  /// Waits until `key` is set, or returns nothing after `timeout` (0: looks once).
  virtual std::optional<std::string> Get(std::string_view key,
                                         std::chrono::milliseconds timeout) = 0;
};

/// Between threads of one process.
std::shared_ptr<KeyValues> MakeInProcessKeyValues();
/// Between processes that can write `folder`, which must be new for each group; one file per key.
std::shared_ptr<KeyValues> MakeFolderKeyValues(std::string folder);

}  // namespace ostria
