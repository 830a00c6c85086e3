// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace ostria {

// Freed blocks of up to 64 KiB wait here, per thread and power of two: an eager result costs no
// malloc. Not under the address sanitizer, which sees a step outside a block only when it has
// exactly the size that was asked for, and a use after its end only when it is not used again.
struct BufferCache {
#ifdef __SANITIZE_ADDRESS__
  static constexpr bool kReuse = false;
#else
  static constexpr bool kReuse = true;
#endif
  static constexpr int kClasses = 11;  // 64 B … 64 KiB
  static constexpr size_t kKeep = 64;  // blocks of one class
  std::vector<void*> free[kClasses];

  ~BufferCache() {
    alive = false;
    for (auto& blocks : free)
      for (void* p : blocks) std::free(p);
  }
  static int ClassOf(size_t bytes) {
    const size_t rounded = std::bit_ceil(std::max<size_t>(bytes, 64));
    const int c = std::countr_zero(rounded) - 6;
    return kReuse && c < kClasses ? c : -1;
  }
  static thread_local bool alive;  // false once this thread's cache was destroyed
  static thread_local BufferCache cache;
};
thread_local bool BufferCache::alive = true;
thread_local BufferCache BufferCache::cache;

std::shared_ptr<Buffer> Buffer::Allocate(size_t bytes) {
  std::shared_ptr<Buffer> b(new Buffer);
  b->bytes_ = bytes;
  b->size_class_ = BufferCache::ClassOf(bytes);
  if (b->size_class_ >= 0 && BufferCache::alive) {
    auto& blocks = BufferCache::cache.free[b->size_class_];
    if (!blocks.empty()) {
      b->data_ = blocks.back();
      blocks.pop_back();
      return b;
    }
  }
  const size_t size = b->size_class_ >= 0 ? size_t{64} << b->size_class_ : bytes;
  if (posix_memalign(&b->data_, 64, size) != 0) {
    b->data_ = nullptr;
    Fail(ErrorCode::kOutOfMemory, "out of memory: ", bytes, " bytes on cpu were refused");
  }
  return b;
}

std::shared_ptr<Buffer> Buffer::Borrow(void* data, size_t bytes, std::function<void()> release) {
  std::shared_ptr<Buffer> b(new Buffer);
  b->data_ = data;
  b->bytes_ = bytes;
  b->release_ = release ? std::move(release) : [] {};
  return b;
}

Buffer::~Buffer() {
  if (release_) {
    release_();
  } else if (data_ != nullptr) {
    if (size_class_ >= 0 && BufferCache::alive) {
      auto& blocks = BufferCache::cache.free[size_class_];
      if (blocks.size() < BufferCache::kKeep) {
        blocks.push_back(data_);
        return;
      }
    }
    std::free(data_);
  }
}

Tensor Tensor::Empty(DType dtype, const Shape& shape) {
  int64_t bytes = SizeOf(dtype);
  for (Dim d : shape) {
    if (__builtin_mul_overflow(bytes, d.value(), &bytes)) {
      Fail(ErrorCode::kOutOfMemory, "out of memory: a ", dtype, " tensor of shape ", shape,
           " has more bytes than memory can hold");
    }
  }
  return Tensor(dtype, shape, Buffer::Allocate(static_cast<size_t>(bytes)));
}

Tensor Tensor::Zeros(DType dtype, const Shape& shape) {
  Tensor t = Empty(dtype, shape);
  std::memset(t.raw(), 0, static_cast<size_t>(t.bytes()));
  return t;
}

}  // namespace ostria
