// SPDX-License-Identifier: Apache-2.0
#include "core/device.h"

#include <charconv>

#include "base/error.h"

namespace ostria {
namespace {
constexpr std::string_view kNames[] = {"cpu", "cuda", "null"};
}

std::string ToString(DeviceId device) {
  const auto name = kNames[static_cast<int>(device.kind)];
  if (device.ordinal == 0 && device.kind != DeviceKind::kCuda) return std::string(name);
  return StrCat(name, ":", device.ordinal);
}

DeviceId ParseDevice(std::string_view text) {
  const auto colon = text.find(':');
  const auto name = text.substr(0, colon);
  for (int kind = 0; kind < 3; ++kind) {
    if (name != kNames[kind]) continue;
    DeviceId device{static_cast<DeviceKind>(kind), 0};
    if (colon == std::string_view::npos) return device;
    const auto digits = text.substr(colon + 1);
    const auto end = digits.data() + digits.size();
    const auto [at, error] = std::from_chars(digits.data(), end, device.ordinal);
    if (error == std::errc() && at == end && device.ordinal >= 0) return device;
  }
  Fail(ErrorCode::kInvalidArgument, "device: '", text,
       "' names no device; accepted are 'cpu', 'cpu:N', 'cuda:N' and 'null'");
}

}  // namespace ostria
