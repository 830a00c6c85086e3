// SPDX-License-Identifier: Apache-2.0
#include "dist/control/store.h"

#include <charconv>
#include <cstdint>

#include "base/error.h"

namespace ostria::control {

const std::string* Store::Find(std::string_view key) const {
  const auto at = values_.find(key);
  return at == values_.end() ? nullptr : &at->second;
}

void Store::Set(std::string_view key, std::string_view value) {
  const auto at = values_.find(key);
  const bool known = at != values_.end();
  const size_t old = known ? at->second.size() : 0;
  const size_t bytes = bytes_ - old + value.size() + (known ? 0 : key.size());
  if (bytes > kMaxBytes || (!known && values_.size() == kMaxKeys)) {
    Fail(ErrorCode::kInvalidArgument, "the store is full: ", values_.size(), " keys and ", bytes_,
         " bytes; at most ", kMaxKeys, " and ", kMaxBytes, "; delete keys that are done");
  }
  bytes_ = bytes;
  if (known)
    at->second = value;
  else
    values_.emplace(key, value);
}

int64_t Store::Add(std::string_view key, int64_t number) {
  int64_t sum = 0;
  if (const std::string* now = Find(key)) {
    const char* end = now->data() + now->size();
    const auto [at, error] = std::from_chars(now->data(), end, sum);
    if (error != std::errc() || at != end) {
      Fail(ErrorCode::kInvalidArgument, "'", key, "' holds ", now->size(),
           " bytes that are no number; add needs one, or an absent key");
    }
  }
  if (__builtin_add_overflow(sum, number, &sum)) {
    Fail(ErrorCode::kInvalidArgument, "adding ", number, " to '", key, "' overflows 64 bits");
  }
  Set(key, StrCat(sum));
  return sum;
}

}  // namespace ostria::control
