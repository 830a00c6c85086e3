// SPDX-License-Identifier: Apache-2.0
#include "dist/control/wire.h"

#include <algorithm>

namespace ostria::control {

size_t MaxBody(MessageType type) {
  switch (type) {
    case MessageType::kHello: return 512;
    case MessageType::kChallenge: return 64;
    case MessageType::kProof: return 512;
    case MessageType::kWelcome: return 1024;
    case MessageType::kRefusal: return 4096;
    case MessageType::kJoin: return 8192;
    case MessageType::kMembers: return 16 << 20;
    case MessageType::kHeartbeat: return 512;
    case MessageType::kHeartbeatReply: return 16;
    case MessageType::kRequest: return (2 << 20) + 4096;
    case MessageType::kReply: return 16 << 20;
    case MessageType::kLines: return 16 << 20;
    case MessageType::kFailure: return 8192;
  }
  return 0;
}

Frame ParseFrame(std::span<const uint8_t> bytes) {
  Frame frame;
  const auto number = [&](size_t at, size_t size) {
    uint64_t x = 0;
    for (size_t i = 0; i < size; ++i) x |= static_cast<uint64_t>(bytes[at + i]) << (8 * i);
    return x;
  };
  for (size_t i = 0; i < std::min<size_t>(bytes.size(), 4); ++i) {
    if (bytes[i] == static_cast<uint8_t>(kMagic >> (8 * i))) continue;
    frame.status = Frame::Status::kNotOurs;
    return frame;
  }
  if (bytes.size() < 8) return frame;
  Header& header = frame.header;
  header.version = static_cast<uint16_t>(number(4, 2));
  const uint64_t type = number(6, 2);
  header.type = static_cast<MessageType>(type);
  if (header.version != kVersion && header.type != MessageType::kRefusal) {
    frame.status = Frame::Status::kOtherVersion;
    return frame;
  }
  if (type == 0 || header.type > kLastType) {
    frame.status = Frame::Status::kBadType;
    return frame;
  }
  if (bytes.size() < 12) return frame;
  header.length = static_cast<uint32_t>(number(8, 4));
  if (header.length > MaxBody(header.type)) {
    frame.status = Frame::Status::kTooLong;
    return frame;
  }
  if (bytes.size() < kHeaderBytes) return frame;
  header.generation = static_cast<uint32_t>(number(12, 4));
  if (bytes.size() - kHeaderBytes < header.length) return frame;
  frame.body = bytes.subspan(kHeaderBytes, header.length);
  frame.status = Frame::Status::kComplete;
  return frame;
}

void Writer::TooLong(const char* what, size_t size, size_t cap) {
  Fail(ErrorCode::kInvalidArgument, what, " of length ", size, "; at most ", cap);
}

}  // namespace ostria::control
