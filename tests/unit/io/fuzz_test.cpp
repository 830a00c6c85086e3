// SPDX-License-Identifier: Apache-2.0
// 100,000 mutations of each format: every one is either accepted or an Error(kDataCorruption),
// memory stays in proportion to the bytes given, and what checksums cover never comes out changed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "io/manifest.h"
#include "io/record_file.h"
#include "io/tensor_file.h"
#include "io/wire.h"
#include "io_testing.h"

namespace {
thread_local size_t largest_allocation = 0;
}

// Sees what the parsers ask for (tensors have an allocator of their own, but no parser makes one).
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // GCC 12 inlines only one side
void* operator new(size_t bytes) {
  largest_allocation = std::max(largest_allocation, bytes);
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace ostria {
namespace {

using testing::AsBytes;
using testing::Slurp;
using testing::TempDir;

constexpr int kMutations = 100'000;

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  std::string operator()(std::string bytes) {
    for (uint32_t n = 1 + random_() % 3; n > 0; --n) Mutate(bytes);
    return bytes;
  }

 private:
  size_t Below(size_t n) { return n == 0 ? 0 : random_() % n; }

  void Mutate(std::string& s) {
    static constexpr std::string_view kTokens[] = {"{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   "\"",
                                                   ",",
                                                   ":",
                                                   "\\u",
                                                   "\\",
                                                   "[[[[[[[[[[[[[[[[",
                                                   "{\"\":{\"\":{\"\":",
                                                   "18446744073709551615",
                                                   "9223372036854775808",
                                                   "-1",
                                                   "0",
                                                   "1e999",
                                                   "null",
                                                   "\xff",
                                                   "\xed\xa0\x80",
                                                   "__metadata__",
                                                   "data_offsets",
                                                   "\"shape\":[0],",
                                                   "4294967296",
                                                   "F64",
                                                   "BOOL"};
    const size_t at = Below(s.size());
    switch (random_() % 7) {
      case 0:
        if (!s.empty()) s[at] = static_cast<char>(s[at] ^ (1 << (random_() % 8)));
        break;
      case 1:
        if (!s.empty()) s[at] = static_cast<char>(random_());
        break;
      case 2: s.resize(at); break;
      case 3: s.insert(at, 1 + random_() % 4, static_cast<char>(random_())); break;
      case 4: s.insert(at, kTokens[random_() % std::size(kTokens)]); break;
      case 5: s.erase(at, 1 + random_() % 8); break;
      default: {  // a length field: small, huge, or off by a little
        const size_t where = random_() % 2 ? 0 : at;
        if (s.size() < where + 8) break;
        uint64_t length;
        std::memcpy(&length, s.data() + where, 8);
        const uint64_t choices[] = {0,          length + 1,        length - 1, length << 8,
                                    UINT64_MAX, uint64_t{1} << 40, s.size(),   s.size() - 8};
        length = choices[random_() % std::size(choices)];
        std::memcpy(s.data() + where, &length, 8);
      }
    }
  }

  std::mt19937 random_;
};

// Runs `parse` on mutations of `seed`; returns how many were accepted.
int Fuzz(uint32_t seed, const std::string& valid,
         const std::function<void(const std::string&)>& parse) {
  Mutator mutate(seed);
  int accepted = 0;
  for (int i = 0; i < kMutations; ++i) {
    const std::string bytes = mutate(valid);
    largest_allocation = 0;
    try {
      parse(bytes);
      ++accepted;
    } catch (const Error& e) {
      EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(ErrorCode::kDataCorruption))
          << e.what();
    }
    EXPECT_LE(largest_allocation, 4 * bytes.size() + 1024) << "mutation " << i;
    if (::testing::Test::HasFailure()) break;
  }
  return accepted;
}

TEST(Fuzz, TensorFile) {
  TempDir dir;
  WriteTensorFile(dir / "t",
                  {{"a", Tensor::Zeros(DType::kFloat32, {2, 3})},
                   {"b/c", Tensor::Zeros(DType::kInt8, {5})},
                   {"e", Tensor::Zeros(DType::kFloat64, {0, 4})},
                   {"f", Tensor::Zeros(DType::kBool, {})}},
                  {{"k", "v\xc3\xa4"}});
  const std::string valid = Slurp(dir / "t");
  const int accepted = Fuzz(1, valid, [](const std::string& bytes) {
    const TensorFileIndex index = ParseTensorFile(AsBytes(bytes), "f");
    uint64_t next = index.entries.empty() ? bytes.size() : index.entries[0].offset;
    for (const TensorEntry& entry : index.entries) {
      ASSERT_EQ(entry.offset, next);
      ASSERT_EQ(entry.bytes, static_cast<uint64_t>(entry.shape.numel() * SizeOf(entry.dtype)));
      next += entry.bytes;
    }
    ASSERT_EQ(next, bytes.size());
  });
  EXPECT_GT(accepted, 0);  // flips in the data and in names
  EXPECT_LT(accepted, kMutations / 2);
}

TEST(Fuzz, Manifest) {
  Manifest m;
  m.step = 3;
  m.tensors["a/kernel"] = {DType::kFloat32, {2, 3}, 123456789};
  m.tensors["b"] = {DType::kInt64, {}, 1};
  m.blobs = {{"iterator", "{\"epoch\": 1}"}, {"raw", "\xff\x01"}};
  m.metadata = {{"note", "x"}};
  const std::string valid = FormatManifest(m);
  EXPECT_LE(Fuzz(2, valid,
                 [&](const std::string& bytes) {
                   ParseManifest(bytes, "m");
                   ASSERT_EQ(bytes, valid);  // nothing but the original carries its checksum
                 }),
            kMutations / 100);
  // The same with a fresh checksum, so that mutations reach the parser behind it.
  const std::string body = valid.substr(0, valid.rfind(",\n\"manifest_crc32c\""));
  const int accepted = Fuzz(
      3, body, [](const std::string& bytes) { ParseManifest(internal::SealManifest(bytes), "m"); });
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, kMutations);
}

TEST(Fuzz, RecordFile) {
  TempDir dir;
  const std::vector<std::string> records = {"", "hello", std::string(300, 'x'), "tail"};
  RecordWriter writer(dir / "r");
  for (const std::string& record : records) writer.Write(record);
  writer.Close();
  Fuzz(4, Slurp(dir / "r"), [&](const std::string& bytes) {
    uint64_t offset = 0;
    std::string_view record;
    size_t n = 0;
    while (ParseRecord(AsBytes(bytes), "r", &offset, &record)) {
      ASSERT_LE(offset, bytes.size());
      // A record that is read is one of those written: damage cannot invent data.
      ASSERT_NE(std::find(records.begin(), records.end(), record), records.end());
      ++n;
    }
    ASSERT_LE(n, records.size());
  });
}

TEST(Fuzz, WireFormat) {
  WireWriter w;
  w.Double(1, 2.0);
  w.Varint(2, 300);
  w.Message(5, [](WireWriter& s) {
    s.Message(1, [](WireWriter& v) {
      v.Bytes(1, "loss");
      v.Float(2, 0.5f);
    });
  });
  const std::function<void(WireReader, int)> walk = [&](WireReader reader, int depth) {
    while (reader.Next()) {
      if (reader.type() != WireType::kBytes) continue;
      reader.EachFloat([](float) {});
      reader.EachVarint([](uint64_t) {});
      if (depth < 4) walk(reader.message(), depth + 1);
    }
  };
  Fuzz(5, w.bytes(), [&](const std::string& bytes) { walk(WireReader(bytes), 0); });
}

}  // namespace
}  // namespace ostria
