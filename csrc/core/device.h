// SPDX-License-Identifier: Apache-2.0
// Names a device ("cpu", "cpu:1", "cuda:0", "null"); holds nothing of it.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace ostria {

enum class DeviceKind : uint8_t { kCpu, kCuda, kNull };

struct DeviceId {
  DeviceKind kind = DeviceKind::kCpu;
  int16_t ordinal = 0;
  friend auto operator<=>(const DeviceId&, const DeviceId&) = default;  // NOLINT: no null here
};

/// "cpu", "cuda:1": the ordinal is left out when it is 0 on the CPU and the null device.
std::string ToString(DeviceId device);

/// Reads ToString's form; throws Error(kInvalidArgument) with the accepted names.
DeviceId ParseDevice(std::string_view text);

}  // namespace ostria
