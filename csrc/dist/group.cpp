// SPDX-License-Identifier: Apache-2.0
#include "dist/group.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/check.h"

namespace ostria {
namespace {

// FNV-1a; only accidents are to be found.
uint64_t Hash(uint64_t hash, const void* data, size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ at[i]) * 0x100000001b3;
  return hash;
}

// Gives `put` the words of ToString, and allocates nothing.
template <class Put>
void Write(const Call& call, const Put& put) {
  const auto number = [&](int64_t n) {
    char digits[20];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, n);
    put({digits, static_cast<size_t>(end - digits)});
  };
  for (const std::string_view part : {call.kind, std::string_view(" '"), call.what}) put(part);
  put("'");
  if (call.kind == "barrier") return;
  put(" of ");
  number(call.count);
  put(" ");
  put(Name(call.dtype));
  if (call.kind == "all_gather") return;
  put(" (");
  if (call.kind == "broadcast") {
    put("from rank ");
    number(call.extra);
  } else {
    put(ToString(static_cast<ReduceOp>(call.extra)));
  }
  put(")");
}

}  // namespace

std::string ToString(const Call& call) {
  std::string text;
  Write(call, [&](std::string_view part) { text += part; });
  return text;
}

CallRecord Pack(const Call& call) {
  CallRecord record{};
  uint64_t hash = Hash(0xcbf29ce484222325, call.kind.data(), call.kind.size());
  hash = Hash(hash ^ call.what.size(), call.what.data(), call.what.size());
  const int64_t numbers[] = {call.count, static_cast<int64_t>(call.dtype), call.extra};
  record.hash = Hash(hash, numbers, sizeof numbers);
  size_t at = 0;
  Write(call, [&](std::string_view part) {
    const size_t n = std::min(part.size(), sizeof record.text - 1 - at);
    std::memcpy(record.text + at, part.data(), n);
    at += n;
  });
  return record;
}

std::string Disagreement(std::string_view rank, std::string_view call, std::string_view other,
                         std::string_view other_call) {
  return StrCat("ranks disagree: ", rank, " calls ", call, ", ", other, " calls ", other_call,
                "; every rank must run the same program");
}

std::vector<std::string> LabelsOf(const GroupOptions& options, int size) {
  std::vector<std::string> labels = options.labels;
  OSTRIA_CHECK(labels.empty() || static_cast<int>(labels.size()) == size);
  for (int r = static_cast<int>(labels.size()); r < size; ++r) labels.push_back(StrCat("rank ", r));
  return labels;
}

}  // namespace ostria
