// SPDX-License-Identifier: Apache-2.0
#include "io/tensor_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "io_testing.h"

namespace ostria {
namespace {

using testing::AsBytes;
using testing::ErrorText;
using testing::Slurp;
using testing::Spill;
using testing::TempDir;

Tensor Counting(DType dtype, const Shape& shape, int start) {
  Tensor t = Tensor::Empty(dtype, shape);
  auto* bytes = t.data<uint8_t>();
  for (int64_t i = 0; i < t.bytes(); ++i) {
    bytes[i] = static_cast<uint8_t>(dtype == DType::kBool ? (start + i) % 2 : start + i);
  }
  return t;
}

std::string File(std::string header, std::string_view data) {
  const uint64_t n = header.size();
  return std::string(reinterpret_cast<const char*>(&n), 8) + header + std::string(data);
}

std::string Reject(std::string_view bytes) {
  return ErrorText(ErrorCode::kDataCorruption, [&] { ParseTensorFile(AsBytes(bytes), "f"); });
}

TEST(TensorFile, AllDTypesRoundTripAligned) {
  TempDir dir;
  NamedTensors tensors;
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    tensors.emplace_back(StrCat("layer/", Name(dtype)), Counting(dtype, {3, 1, 5}, i));
  }
  tensors.emplace_back("scalar", Counting(DType::kFloat64, {}, 9));
  tensors.emplace_back("empty", Counting(DType::kFloat32, {0, 7}, 0));
  tensors.emplace_back("name \"quoted\" \xc3\xa4\n", Counting(DType::kInt8, {1}, 1));
  WriteTensorFile(dir / "t", tensors, {{"step", "12"}, {"note", "a \"b\""}});

  const TensorFile back = ReadTensorFile(dir / "t");
  EXPECT_EQ(back.metadata, (Metadata{{"step", "12"}, {"note", "a \"b\""}}));
  ASSERT_EQ(back.tensors.size(), tensors.size());
  const TensorFileReader reader(dir / "t");
  for (const auto& [name, tensor] : tensors) {
    const TensorEntry* entry = reader.index().Find(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ(entry->offset % SizeOf(entry->dtype), 0u) << name;
    const Tensor read = reader.Read(*entry);
    EXPECT_EQ(read.dtype(), tensor.dtype());
    EXPECT_EQ(read.shape(), tensor.shape());
    EXPECT_EQ(std::memcmp(read.raw(), tensor.raw(), static_cast<size_t>(tensor.bytes())), 0)
        << name;
  }
  EXPECT_EQ(reader.index().Find("absent"), nullptr);
}

TEST(TensorFile, BytesDoNotDependOnTheOrderGiven) {
  TempDir dir;
  const Tensor a = Counting(DType::kInt8, {2}, 1), b = Counting(DType::kFloat32, {1}, 7);
  WriteTensorFile(dir / "1", {{"a", a}, {"b", b}});
  WriteTensorFile(dir / "2", {{"b", b}, {"a", a}});
  const std::string expected = File(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                    R"("a":{"dtype":"I8","shape":[2],"data_offsets":[4,6]}})"
                                    "      ",
                                    "\7\x8\x9\xa\1\2");
  EXPECT_EQ(Slurp(dir / "1"), expected);
  EXPECT_EQ(Slurp(dir / "2"), expected);
}

TEST(TensorFile, AcceptsTheSmallestFile) {
  const std::string bytes = File("{}", "");
  EXPECT_TRUE(ParseTensorFile(AsBytes(bytes), "f").entries.empty());
}

TEST(TensorFile, EveryDamageHasItsMessage) {
  EXPECT_EQ(Reject("1234567"), "f: damaged at byte 7: the file ends inside the header's length");
  EXPECT_EQ(
      Reject(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10)),
      "f: damaged at byte 0: the header claims 9223372036854775807 bytes; at most 100000000 are "
      "accepted");
  EXPECT_EQ(Reject(std::string("\x03\0\0\0\0\0\0\0{}", 10)),
            "f: damaged at byte 0: the header claims 3 bytes; the file has 2 after its length");
  EXPECT_EQ(Reject(File(" {}", "")), "f: damaged at byte 8: the header is not a JSON object");
  EXPECT_EQ(Reject(File("{}x", "")),
            "f: damaged at byte 10: text after the end of the JSON document");
  EXPECT_EQ(Reject(File("{}", "ab")), "f: damaged at byte 10: 2 bytes after the last tensor");
  const auto one = [](std::string entry, std::string_view data = "1234") {
    return Reject(File("{\"a\":" + entry + "}", data));
  };
  EXPECT_EQ(
      one(R"({"dtype":"F31","shape":[1],"data_offsets":[0,4]})"),
      "f: damaged at byte 27: dtype \"F31\" is none of BOOL, I8, I16, I32, I64, U8, U16, U32, "
      "U64, F16, BF16, F32, F64");
  EXPECT_EQ(
      one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"),
      "f: damaged at byte 61: data_offsets [0, 4] span 4 bytes; shape [2] of float32 needs 8");
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"),
            "f: damaged at byte 61: data_offsets [4, 0] leave the file's 4 data bytes");
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[1],"data_offsets":[1,5]})"),
            "f: damaged at byte 61: data_offsets [1, 5] leave the file's 4 data bytes");
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]})"),
            "f: damaged at byte 81: a tensor's shape needs more than 2^64 bytes");
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})"),
            "f: damaged at byte 54: a tensor has more than 8 axes; at most 8 are supported");
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[1]})"),
            "f: damaged at byte 40: a tensor needs dtype, shape and data_offsets once each");
  EXPECT_EQ(one(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})"),
            "f: damaged at byte 75: a tensor needs dtype, shape and data_offsets once each");
  EXPECT_NE(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), "");
  EXPECT_NE(one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})"), "");
  EXPECT_NE(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,4]})"), "");
  EXPECT_NE(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})"), "");
}

TEST(TensorFile, HolesOverlapsAndDuplicatesAreDamage) {
  const std::string a = R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},)";
  EXPECT_EQ(Reject(File(a + R"("b":{"dtype":"I8","shape":[1],"data_offsets":[3,4]}})", "1234")),
            "f: damaged at byte 115: the data of \"b\" leaves a hole before it");
  EXPECT_EQ(Reject(File(a + R"("b":{"dtype":"I8","shape":[3],"data_offsets":[1,4]}})", "1234")),
            "f: damaged at byte 114: the data of \"b\" overlaps another tensor");
  EXPECT_EQ(Reject(File(a + R"("a":{"dtype":"I8","shape":[2],"data_offsets":[2,4]}})", "1234")),
            "f: damaged at byte 8: the tensor \"a\" occurs twice in the header");
  EXPECT_NE(Reject(File(R"({"__metadata__":{"k":"1","k":"2"}})", "")), "");
  EXPECT_NE(Reject(File(R"({"__metadata__":{"k":1}})", "")), "");
  EXPECT_NE(Reject(File(R"({"__metadata__":{},"__metadata__":{}})", "")), "");
}

TEST(TensorFile, TruncatedFileAndForgedBoolAreDamage) {
  TempDir dir;
  WriteTensorFile(dir / "t", {{"b", Counting(DType::kBool, {4}, 0)}});
  std::string bytes = Slurp(dir / "t");
  Spill(dir / "t", bytes.substr(0, bytes.size() - 1));
  EXPECT_NE(ErrorText(ErrorCode::kDataCorruption, [&] { ReadTensorFile(dir / "t"); }), "");
  bytes.back() = 2;
  Spill(dir / "t", bytes);
  EXPECT_EQ(ErrorText(ErrorCode::kDataCorruption, [&] { ReadTensorFile(dir / "t"); }),
            StrCat(dir / "t", ": damaged at byte ", bytes.size() - 1,
                   ": the bool tensor \"b\" holds 2; 0 and 1 are accepted"));
}

TEST(TensorFile, WriterRefusesBadNames) {
  TempDir dir;
  const Tensor t = Counting(DType::kInt8, {1}, 0);
  const auto refuse = [&](NamedTensors tensors) {
    return ErrorText(ErrorCode::kInvalidArgument, [&] { WriteTensorFile(dir / "t", tensors); });
  };
  const std::string start = "cannot write " + (dir / "t") + ": ";
  EXPECT_EQ(refuse({{"a", t}, {"a", t}}),
            start + "the tensor name \"a\" is given twice; choose another name");
  EXPECT_EQ(refuse({{"__metadata__", t}}),
            start + "the tensor name \"__metadata__\" is reserved; choose another name");
  EXPECT_EQ(refuse({{"\xff", t}}), start + "a tensor's name is not valid UTF-8; text is accepted");
  EXPECT_EQ(refuse({{"a", Tensor()}}), start + "the tensor \"a\" has no value");
}

}  // namespace
}  // namespace ostria
