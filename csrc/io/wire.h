// SPDX-License-Identifier: Apache-2.0
// The protobuf wire format: enough to write and read event files, tf.train.Example and ONNX,
// without generated code. https://protobuf.dev/programming-guides/encoding Invariant: the reader
// holds views only; it allocates nothing, whatever lengths the bytes claim.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "io/file.h"

namespace ostria {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// Appends fields to a message; `Take` yields the bytes.
class WireWriter {
 public:
  /// int32, int64, uint64, bool, enum (negative numbers take ten bytes).
  void Varint(int field, uint64_t value) {
    Tag(field, WireType::kVarint);
    Raw(value);
  }
  void Double(int field, double value) {
    Tag(field, WireType::kFixed64);
    Fixed(std::bit_cast<uint64_t>(value));
  }
  void Float(int field, float value) {
    Tag(field, WireType::kFixed32);
    Fixed(std::bit_cast<uint32_t>(value));
  }
  /// A string, bytes, a packed list or a message that was written before.
  void Bytes(int field, std::string_view value) {
    Tag(field, WireType::kBytes);
    Raw(value.size());
    out_.append(value);
  }
  /// A nested message: `fill(WireWriter&)` writes its fields.
  template <class Fill>
  void Message(int field, Fill&& fill) {
    WireWriter inner;
    fill(inner);
    Bytes(field, inner.out_);
  }

  const std::string& bytes() const { return out_; }
  std::string Take() { return std::exchange(out_, {}); }

 private:
  void Tag(int field, WireType type) {
    Raw(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(type));
  }
  void Raw(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }
  template <class T>
  void Fixed(T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out_.append(bytes, sizeof(T));
  }

  std::string out_;
};

/// Walks the fields of one message: `while (reader.Next()) switch (reader.field()) …`. A field that
/// is not asked for is skipped. Damage is Error(kDataCorruption) with the file and the offset.
class WireReader {
 public:
  /// `file` names the source in errors; `base_offset` is where `message` lies in it.
  explicit WireReader(std::string_view message, std::string_view file = "message",
                      uint64_t base_offset = 0)
      : message_(message), file_(file), base_offset_(base_offset) {}

  /// Goes to the next field; false at the end.
  bool Next();
  int field() const { return field_; }
  WireType type() const { return type_; }

  // The value of the current field; the wrong type is damage.
  uint64_t varint() const;
  int64_t int64() const { return static_cast<int64_t>(varint()); }
  double as_double() const;
  float as_float() const;
  std::string_view bytes() const;
  /// A reader of the current field, which holds a message.
  WireReader message() const { return WireReader(bytes(), file_, value_offset_); }
  /// The values of a repeated varint or fixed field, packed or not, one call each.
  template <class Fn>
  void EachVarint(Fn&& fn) const;
  template <class Fn>
  void EachFloat(Fn&& fn) const;

  /// Offset in the file of the current value.
  uint64_t offset() const { return value_offset_; }

 private:
  uint64_t ReadVarint();
  void Need(WireType type) const;

  std::string_view message_, file_;
  uint64_t base_offset_;
  size_t position_ = 0;
  int field_ = 0;
  WireType type_ = WireType::kVarint;
  uint64_t number_ = 0;
  std::string_view bytes_;
  uint64_t value_offset_ = 0;
};

template <class Fn>
void WireReader::EachVarint(Fn&& fn) const {
  if (type_ != WireType::kBytes) {
    fn(varint());
    return;
  }
  WireReader packed(bytes_, file_, value_offset_);
  while (packed.position_ < packed.message_.size()) fn(packed.ReadVarint());
}

template <class Fn>
void WireReader::EachFloat(Fn&& fn) const {
  if (type_ != WireType::kBytes) {
    fn(as_float());
    return;
  }
  if (bytes_.size() % 4 != 0) {
    FailCorrupt(file_, value_offset_, "a packed list of floats has ", bytes_.size(), " bytes");
  }
  for (size_t i = 0; i < bytes_.size(); i += 4) {
    float value;
    std::memcpy(&value, bytes_.data() + i, 4);
    fn(value);
  }
}

}  // namespace ostria
