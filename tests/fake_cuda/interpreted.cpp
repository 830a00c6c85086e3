// SPDX-License-Identifier: Apache-2.0
// An image is a mark and the comments /* NAME FORM <line> program */ of a source.
#include "fake_cuda/interpreted.h"

#include <cstring>
#include <vector>

#include "kernels/scalar/philox.h"

namespace fake_cuda {
namespace {

constexpr char kMark[] = "fake-loops:\n";

// The x that x * odd is `product` of, by Newton's method.
uint64_t Divide(uint64_t product, uint64_t odd) {
  uint64_t inverse = odd;
  for (int i = 0; i < 6; ++i) inverse *= 2 - odd * inverse;
  return product * inverse;
}
uint64_t UndoShift(uint64_t z, int by) {
  uint64_t x = z;
  for (int i = by; i < 64; i += by) x = z ^ (x >> by);
  return x;
}
// The number of a stream of draws, of which a kernel is given MixStream.
uint64_t Unmixed(uint64_t z) {
  z = Divide(UndoShift(z, 31), 0x94D049BB133111EBull);
  z = Divide(UndoShift(z, 27), 0xBF58476D1CE4E5B9ull);
  return UndoShift(z, 30) - 0x9E3779B97F4A7C15ull;
}

}  // namespace

std::string InterpretedImage(const std::string& source) {
  std::string image = kMark;
  for (size_t at = source.find("/* loop_"); at != std::string::npos;) {
    const size_t end = source.find("*/", at);
    image += source.substr(at + 3, end - at - 3) + "*/\n";
    at = source.find("/* loop_", end);
  }
  return image;
}

std::shared_ptr<const InterpretedLoops> OpenInterpreted(const void* image) {
  const auto* text = static_cast<const char*>(image);
  if (std::strncmp(text, kMark, sizeof kMark - 1) != 0) return nullptr;
  auto loops = std::make_shared<InterpretedLoops>();
  const std::string all = text + sizeof kMark - 1;
  for (size_t at = 0; at < all.size();) {
    const size_t space = all.find(' ', at), line = all.find('\n', at), end = all.find("*/\n", at);
    InterpretedLoop& loop = (*loops)[all.substr(at, space - at)];
    loop.flat = all.substr(space + 1, line - space - 1) == "flat";
    loop.program = ostria::ParseLoop(all.substr(line + 1, end - line - 1));
    at = end + 3;
  }
  return loops;
}

void RunInterpreted(const InterpretedLoop& loop, const void* params) {
  ostria::LoopProgram p = loop.program;
  const auto* words = static_cast<const uint64_t*>(params);
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (size_t i = 0; i < p.inputs.size(); ++i) {
    inputs.push_back(reinterpret_cast<const void*>(*words++));
  }
  for (size_t i = 0; i < p.outputs.size(); ++i)
    outputs.push_back(reinterpret_cast<void*>(*words++));
  ++words;  // the workspace
  const auto n = static_cast<int64_t>(*words);
  words += 3;  // n, pieces, per
  if (loop.flat || p.rank() > p.column_axes) {
    int64_t others = 1;
    for (int d = 1; d < (loop.flat ? p.rank() : p.rank() - p.column_axes); ++d)
      others *= p.sizes[d];
    if (p.rank() > 0) p.sizes[0] = n / others;
  }
  for (ostria::LoopInstr& i : p.code) {
    if (i.kind != ostria::LoopKind::kDraw) continue;
    i.stream = static_cast<int64_t>(Unmixed(words[i.stream]));
  }
  ostria::RunReference(p, inputs, outputs);
}

}  // namespace fake_cuda
