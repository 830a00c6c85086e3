// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <cstring>

#include "core/host_memory.h"

namespace ostria {

std::shared_ptr<Buffer> Buffer::Allocate(size_t bytes) {
  std::shared_ptr<Buffer> b(new Buffer);
  b->data_ = AllocateHost(bytes);
  b->bytes_ = bytes;
  return b;
}

std::shared_ptr<Buffer> Buffer::Borrow(void* data, size_t bytes, std::function<void()> release) {
  std::shared_ptr<Buffer> b(new Buffer);
  b->data_ = data;
  b->bytes_ = bytes;
  b->release_ = release ? std::move(release) : [] {};
  return b;
}

std::shared_ptr<Buffer> Buffer::OnDevice(void* data, size_t bytes,
                                         std::unique_ptr<DeviceMemory> memory) {
  std::shared_ptr<Buffer> b(new Buffer);
  b->data_ = data;
  b->bytes_ = bytes;
  b->memory_ = std::move(memory);
  return b;
}

Buffer::~Buffer() {
  if (memory_ != nullptr) return;  // frees itself
  if (release_)
    release_();
  else if (data_ != nullptr)
    FreeHost(data_, bytes_);
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

Tensor Tensor::OnHost() const {
  if (on_host()) return *this;
  Tensor t = Empty(dtype_, shape_);
  buffer_->memory()->CopyToHost(t.raw(), offset_, static_cast<size_t>(bytes()));
  return t;
}

Tensor Tensor::Zeros(DType dtype, const Shape& shape) {
  Tensor t = Empty(dtype, shape);
  std::memset(t.raw(), 0, static_cast<size_t>(t.bytes()));
  return t;
}

}  // namespace ostria
