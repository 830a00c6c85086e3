// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli, reflected 0x82F63B78), by the SSE4.2 instruction where the CPU has it.
// Invariant: both implementations give the same value for any split of the input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ostria {

/// The checksum of the bytes behind `crc` followed by `data`: start with 0.
uint32_t ExtendCrc32c(uint32_t crc, const void* data, size_t bytes);

inline uint32_t Crc32c(const void* data, size_t bytes) { return ExtendCrc32c(0, data, bytes); }
inline uint32_t Crc32c(std::string_view data) { return Crc32c(data.data(), data.size()); }

/// TFRecord stores checksums masked, so that a checksum of data that holds checksums stays strong.
constexpr uint32_t MaskCrc32c(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

namespace internal {
/// The table-driven implementation, reachable so that tests compare it with the instruction.
uint32_t ExtendCrc32cPortable(uint32_t crc, const void* data, size_t bytes);
}  // namespace internal

}  // namespace ostria
