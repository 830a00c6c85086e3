// SPDX-License-Identifier: Apache-2.0
// DLPack both ways. Exports share memory, marked read-only for consumers of 1.x; older consumers
// cannot be told, so they get a copy unless they ask for the alias. Imports share dense memory and
// copy strided. On a GPU nobody waits: the consumer's stream does (export), or the producer makes
// ours wait (import).
#include "bindings/dlpack.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "bindings/bindings.h"
#include "bindings/py_tensor.h"
#include "bindings/py_variable.h"
#include "ops/ops.h"
#include "runtime/eager.h"
#include "runtime/live_device.h"

namespace py = pybind11;

namespace ostria {
namespace {

template <class Managed>
struct Exported {
  Managed managed{};
  ostria::Tensor keep;
  int64_t shape[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};
};

dlpack::DataType TypeOfExport(DType t) {
  const auto bits = static_cast<uint8_t>(SizeOf(t) * 8);
  if (t == DType::kBool) return {dlpack::kBool, 8, 1};
  if (t == DType::kBFloat16) return {dlpack::kBfloat, 16, 1};
  switch (KindOf(t)) {
    case DTypeKind::kSigned: return {dlpack::kInt, bits, 1};
    case DTypeKind::kUnsigned: return {dlpack::kUInt, bits, 1};
    default: return {dlpack::kFloat, bits, 1};
  }
}

std::optional<DType> TypeOfImport(dlpack::DataType d) {
  if (d.lanes != 1) return std::nullopt;
  for (int i = 0; i < kNumDTypes; ++i) {
    const dlpack::DataType mine = TypeOfExport(static_cast<DType>(i));
    if (mine.code == d.code && mine.bits == d.bits) return static_cast<DType>(i);
  }
  return std::nullopt;
}

[[noreturn]] void BufferError(const std::string& text) { throw py::buffer_error(text); }

dlpack::Device DeviceOf(const ostria::Tensor& t) {
  const DeviceId d = t.device();
  return {d.kind == DeviceKind::kCuda ? dlpack::kCuda : dlpack::kCpu, d.ordinal};
}

template <class Managed>
py::capsule Export(const ostria::Tensor& t, const char* name, uint64_t flags) {
  auto* e = new Exported<Managed>;
  e->keep = t;
  int64_t stride = 1;
  const int rank = t.shape().rank();
  for (int i = rank - 1; i >= 0; --i) {
    e->shape[i] = t.shape()[i].value();
    e->strides[i] = stride;
    stride *= e->shape[i];
  }
  e->managed.context = e;
  e->managed.deleter = [](Managed* m) { delete static_cast<Exported<Managed>*>(m->context); };
  e->managed.tensor = {t.raw(),  DeviceOf(t), rank, TypeOfExport(t.dtype()),
                       e->shape, e->strides,  0};
  if constexpr (std::is_same_v<Managed, dlpack::ManagedTensorVersioned>) {
    e->managed.version = {1, 0};
    e->managed.flags = flags;
  }
  return py::capsule(&e->managed, name, [](PyObject* capsule) {
    // A consumer renames the capsule and owns the tensor from then on.
    const char* now = PyCapsule_GetName(capsule);
    if (now == nullptr || std::strncmp(now, "used_", 5) == 0) return;
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, now));
    if (managed != nullptr) managed->deleter(managed);
  });
}

// By the Array API: 1 and 2 are the legacy and the per-thread default stream, None is the first,
// -1 asks for no order at all, larger numbers are streams.
void HoldBack(const ostria::Tensor& t, const py::object& stream) {
  LiveDevice& live = *LiveDevice::Of(t.device());
  int64_t other = 1;
  if (!stream.is_none()) {
    if (!py::isinstance<py::int_>(stream)) {
      BufferError(StrCat("__dlpack__: stream is a ", std::string(py::str(py::type::of(stream))),
                         "; pass a number: 1, 2 or a stream's handle"));
    }
    other = stream.cast<int64_t>();
  }
  if (other == 0 || other < -1) {
    BufferError(StrCat("__dlpack__: stream=", other,
                       " names no stream; accepted are None, -1 (no order), 1 (the legacy default "
                       "stream), 2 (the per-thread one), or a stream's handle"));
  }
  if (other == -1) return;
  const py::gil_scoped_release release;
  live.HoldBack(static_cast<uintptr_t>(other));
}

// The tensor that is exported, where the device that was asked for is another one.
ostria::Tensor OnDevice(const ostria::Tensor& source, const py::object& device,
                        const py::object& copy) {
  if (device.is_none()) return source;
  const auto want = device.cast<std::pair<int, int>>();
  const dlpack::Device here = DeviceOf(source);
  if (want.first == here.type && want.second == here.id) return source;
  if (want.first != dlpack::kCpu || want.second != 0 || source.on_host()) {
    BufferError(StrCat("__dlpack__: the tensor is on ", ToString(source.device()), ", (", here.type,
                       ", ", here.id, "), and is not copied to another device, (", want.first, ", ",
                       want.second, "); use ost.to_device"));
  }
  if (!copy.is_none() && !copy.cast<bool>()) {
    BufferError(StrCat("__dlpack__: copy=False, but the tensor is on ", ToString(source.device()),
                       " and cpu is asked for; use copy=None"));
  }
  const py::gil_scoped_release release;
  return source.OnHost();
}

ostria::Tensor CopyOf(const ostria::Tensor& source) {
  if (!source.on_host()) {
    const py::gil_scoped_release release;
    return LiveDevice::Of(source.device())->Copy(source);
  }
  ostria::Tensor t = ostria::Tensor::Empty(source.dtype(), source.shape());
  std::memcpy(t.raw(), source.raw(), static_cast<size_t>(source.bytes()));
  return t;
}

py::capsule ToDlpack(const ostria::Tensor& source, const py::object& stream,
                     const py::object& max_version, const py::object& device,
                     const py::object& copy) {
  ostria::Tensor t = OnDevice(source, device, copy);
  const bool moved = t.buffer() != source.buffer();
  if (t.on_host() && !moved && !stream.is_none())
    BufferError("__dlpack__: a cpu tensor takes no stream; pass stream=None");
  const bool versioned =
      !max_version.is_none() && max_version.cast<py::sequence>()[0].cast<int>() >= 1;
  const bool alias = !copy.is_none() && !copy.cast<bool>();
  // Small results lie in memory of the host, which is none of the device to others.
  const bool pinned = !t.on_host() && LiveDevice::IsPinned(t);
  if (pinned && alias) {
    BufferError(
        "__dlpack__: copy=False, but a small result of a step lies in pinned memory of the host; "
        "use copy=None");
  }
  const bool must_copy = (!copy.is_none() && copy.cast<bool>()) || !(versioned || alias) || pinned;
  uint64_t flags = dlpack::kReadOnly;
  if (must_copy && !moved) t = CopyOf(t);
  if (must_copy || moved) flags = dlpack::kIsCopied;
  if (!t.on_host()) HoldBack(t, stream);
  if (versioned) return Export<dlpack::ManagedTensorVersioned>(t, "dltensor_versioned", flags);
  return Export<dlpack::ManagedTensor>(t, "dltensor", 0);
}

// Copies a strided source; the innermost loop is over elements, as this path is rare.
void CopyStrided(const dlpack::Tensor& d, int axis, const std::byte* from, std::byte*& to,
                 int64_t size) {
  if (axis == d.ndim) {
    std::memcpy(to, from, static_cast<size_t>(size));
    to += size;
    return;
  }
  for (int64_t i = 0; i < d.shape[axis]; ++i) {
    CopyStrided(d, axis + 1, from + i * d.strides[axis] * size, to, size);
  }
}

bool IsDense(const dlpack::Tensor& d) {
  int64_t stride = 1;
  bool dense = true;
  for (int i = d.ndim - 1; i >= 0; --i) {
    dense &= d.strides == nullptr || d.shape[i] == 1 || d.strides[i] == stride;
    stride *= d.shape[i];
  }
  return dense || stride == 0;
}

bool MustNotCopy(const py::object& copy) { return !copy.is_none() && !copy.cast<bool>(); }
bool MustCopy(const py::object& copy) { return !copy.is_none() && copy.cast<bool>(); }

ostria::Tensor FromHost(const dlpack::Tensor& d, DType dtype, const Shape& shape,
                        const py::object& copy, const std::shared_ptr<void>& owner) {
  const int64_t bytes = shape.numel() * SizeOf(dtype);
  const bool dense = IsDense(d);
  auto* data = static_cast<std::byte*>(d.data) + d.byte_offset;
  const bool aligned =
      reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(SizeOf(dtype)) == 0;
  const bool share = dense && aligned && bytes > 0;
  if (MustNotCopy(copy) && !share) {
    BufferError("from_dlpack: copy=False, but the tensor is strided or not aligned; use copy=None");
  }
  if (share && !MustCopy(copy)) {
    return ostria::Tensor(dtype, shape,
                          Buffer::Borrow(data, static_cast<size_t>(bytes), [owner] {}));
  }
  ostria::Tensor t = ostria::Tensor::Empty(dtype, shape);
  if (bytes > 0) {
    auto* to = t.data<std::byte>();
    if (dense)
      std::memcpy(to, data, static_cast<size_t>(bytes));
    else
      CopyStrided(d, 0, data, to, SizeOf(dtype));
  }
  return t;
}

// The axes by descending stride where they then lie dense, as those of a transposed tensor do.
std::optional<std::vector<int64_t>> DenseOrder(const dlpack::Tensor& d) {
  std::vector<int64_t> axes(static_cast<size_t>(d.ndim));
  std::iota(axes.begin(), axes.end(), 0);
  std::stable_sort(axes.begin(), axes.end(),
                   [&](int64_t a, int64_t b) { return d.strides[a] > d.strides[b]; });
  int64_t stride = 1;
  for (size_t i = axes.size(); i-- > 0;) {
    if (d.shape[axes[i]] != 1 && d.strides[axes[i]] != stride) return std::nullopt;
    stride *= d.shape[axes[i]];
  }
  return axes;
}

ostria::Tensor FromCuda(const dlpack::Tensor& d, DType dtype, const Shape& shape,
                        const py::object& copy, const std::shared_ptr<void>& owner) {
  const bool must_copy = MustCopy(copy), must_not = MustNotCopy(copy);
  const py::gil_scoped_release release;  // another thread may hold the device
  LiveDevice& live = *LiveDevice::Of({DeviceKind::kCuda, static_cast<int16_t>(d.device.id)});
  auto* data = static_cast<std::byte*>(d.data) + d.byte_offset;
  if (shape.numel() == 0) return live.ToDevice(ostria::Tensor::Empty(dtype, shape));
  const bool dense = IsDense(d);
  const auto axes = dense ? std::nullopt : DenseOrder(d);
  if (!dense && !axes) {
    BufferError(
        "from_dlpack: the tensor is on a GPU and has gaps or overlaps between its elements; make "
        "it contiguous first (x.contiguous() in torch, x.copy() elsewhere)");
  }
  // As our own tensors begin, which libraries rely on.
  const bool share = dense && reinterpret_cast<uintptr_t>(data) % kAlignment == 0;
  if (must_not && !share) {
    BufferError(
        StrCat("from_dlpack: copy=False, but the tensor is strided or does not begin at a "
               "multiple of ",
               kAlignment, " bytes; use copy=None"));
  }
  Shape stored;
  for (int i = 0; i < d.ndim; ++i) stored.Append(d.shape[dense ? i : (*axes)[i]]);
  const ostria::Tensor borrowed = live.Borrow(dtype, stored, data, [owner] {});
  if (dense) return share && !must_copy ? borrowed : live.Copy(borrowed);
  std::vector<int64_t> back(axes->size());
  for (size_t i = 0; i < axes->size(); ++i) back[(*axes)[i]] = static_cast<int64_t>(i);
  std::vector<ostria::Tensor> outputs;
  const ostria::Tensor aligned =
      reinterpret_cast<uintptr_t>(data) % kAlignment == 0 ? borrowed : live.Copy(borrowed);
  const Attr permutation = back;
  RunEagerOn(live.id(), ops::kTranspose, {&aligned, 1}, {&permutation, 1}, &outputs);
  return outputs[0];
}

PyTensor FromTensor(const dlpack::Tensor& d, const py::object& copy,
                    const std::function<void()>& release) {
  const std::shared_ptr<void> owner(nullptr, [release](void*) { release(); });
  const auto dtype = TypeOfImport(d.dtype);
  if (!dtype) {
    BufferError("from_dlpack: cannot import this dtype; accepted are those of ostria.dtypes");
  }
  Shape shape;
  for (int i = 0; i < d.ndim; ++i) shape.Append(d.shape[i]);
  if (d.device.type == dlpack::kCpu) {
    return PyTensor::Concrete(FromHost(d, *dtype, shape, copy, owner));
  }
  if (d.device.type != dlpack::kCuda) {
    BufferError(StrCat("from_dlpack: the memory is of a device of DLPack's kind ", d.device.type,
                       "; accepted are 1 (cpu) and 2 (cuda); copy it to cpu first"));
  }
  return PyTensor::Concrete(FromCuda(d, *dtype, shape, copy, owner));
}

template <class Managed>
PyTensor Import(const py::capsule& capsule, const char* used, const py::object& copy) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), capsule.name()));
  if constexpr (std::is_same_v<Managed, dlpack::ManagedTensorVersioned>) {
    if (managed->version.major > 1) {
      BufferError(StrCat("from_dlpack: the producer speaks DLPack ", managed->version.major,
                         ".x; 1.x is understood"));
    }
  }
  PyCapsule_SetName(capsule.ptr(), used);
  return FromTensor(managed->tensor, copy, [managed] {
    if (managed->deleter == nullptr || !Py_IsInitialized()) return;
    const py::gil_scoped_acquire gil;  // the producer's deleter may touch Python
    managed->deleter(managed);
  });
}

// The device that the producer says; nullptr: none that has streams.
LiveDevice* CudaDeviceOf(const py::object& source) {
  if (!py::hasattr(source, "__dlpack_device__")) return nullptr;
  const auto device = source.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  if (device.first != dlpack::kCuda) return nullptr;
  const int count = FindBackend(DeviceKind::kCuda).NumDevices();
  if (device.second < 0 || device.second >= count) {
    BufferError(StrCat("from_dlpack: the tensor is on cuda:", device.second, ", and there ",
                       count == 1 ? std::string("is one device, cuda:0")
                                  : StrCat("are ", count, " devices, numbered from 0")));
  }
  const py::gil_scoped_release release;
  return LiveDevice::Of({DeviceKind::kCuda, static_cast<int16_t>(device.second)});
}

PyTensor FromDlpack(const py::object& source, const py::object& copy) {
  if (!py::hasattr(source, "__dlpack__")) {
    throw py::type_error("from_dlpack: the object has no __dlpack__ method; use ost.asarray");
  }
  py::dict arguments;
  if (const LiveDevice* live = CudaDeviceOf(source)) {
    arguments["stream"] = static_cast<int64_t>(live->stream_handle());
  }
  py::object made;
  try {
    py::dict newer = arguments.attr("copy")();
    newer["max_version"] = py::make_tuple(1, 0);
    made = source.attr("__dlpack__")(**newer);
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_TypeError)) throw;
    made = source.attr("__dlpack__")(**arguments);  // a producer of before 1.0
  }
  const auto capsule = py::reinterpret_borrow<py::capsule>(made);
  if (std::strcmp(capsule.name(), "dltensor_versioned") == 0) {
    return Import<dlpack::ManagedTensorVersioned>(capsule, "used_dltensor_versioned", copy);
  }
  if (std::strcmp(capsule.name(), "dltensor") == 0) {
    return Import<dlpack::ManagedTensor>(capsule, "used_dltensor", copy);
  }
  BufferError("from_dlpack: the capsule was consumed already; each may be used once");
}

}  // namespace

void BindDlpack(py::module_& m) {
  const auto add = [](const py::object& cls, auto data) {
    py::setattr(
        cls, "__dlpack__",
        py::cpp_function(
            [data](const py::object& self, const py::object& stream, const py::object& max_version,
                   const py::object& dl_device, const py::object& copy) {
              return ToDlpack(data(self), stream, max_version, dl_device, copy);
            },
            py::name("__dlpack__"), py::is_method(cls), py::kw_only(),
            py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
            py::arg("dl_device") = py::none(), py::arg("copy") = py::none()));
    py::setattr(cls, "__dlpack_device__",
                py::cpp_function(
                    [data](const py::object& self) {
                      const dlpack::Device d = DeviceOf(data(self));
                      return py::make_tuple(d.type, d.id);
                    },
                    py::name("__dlpack_device__"), py::is_method(cls)));
  };
  add(m.attr("Tensor"), [](const py::object& self) -> ostria::Tensor {
    return RequireData(*AsPyTensor(self.ptr()), "__dlpack__");
  });
  m.def("from_dlpack", &FromDlpack, py::arg("x"), py::kw_only(), py::arg("copy") = py::none(),
        "A tensor of any object with __dlpack__, on its device. Dense memory is shared, strided "
        "memory copied; of a GPU, only where it is a permutation of dense memory.");
}

}  // namespace ostria
