// SPDX-License-Identifier: Apache-2.0
// DLPack both ways. Exports share memory, marked read-only for consumers of 1.x; older consumers
// cannot be told, so they get a copy unless they ask for the alias. Imports share dense memory and
// copy strided.
#include "bindings/dlpack.h"

#include <pybind11/pybind11.h>

#include <cstring>
#include <optional>
#include <utility>

#include "bindings/bindings.h"
#include "bindings/py_tensor.h"
#include "bindings/py_variable.h"

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
  e->managed.tensor = {t.raw(),  {dlpack::kCpu, 0}, rank, TypeOfExport(t.dtype()),
                       e->shape, e->strides,        0};
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

py::capsule ToDlpack(const ostria::Tensor& source, const py::object& stream,
                     const py::object& max_version, const py::object& device,
                     const py::object& copy) {
  if (!stream.is_none()) BufferError("__dlpack__: a cpu tensor takes no stream; pass stream=None");
  if (!device.is_none() && !device.equal(py::make_tuple(static_cast<int>(dlpack::kCpu), 0))) {
    BufferError("__dlpack__: the tensor is on cpu, (1, 0), and is not copied to another device");
  }
  if (!source.on_host()) {
    BufferError(StrCat("__dlpack__: the tensor is on ", ToString(source.device()),
                       "; use ost.to_device(x, 'cpu')"));
  }
  const bool versioned =
      !max_version.is_none() && max_version.cast<py::sequence>()[0].cast<int>() >= 1;
  const bool must_copy = !copy.is_none() && copy.cast<bool>();
  const bool may_alias = versioned || (!copy.is_none() && !copy.cast<bool>());
  ostria::Tensor t = source;
  uint64_t flags = dlpack::kReadOnly;
  if (must_copy || !may_alias) {
    t = ostria::Tensor::Empty(source.dtype(), source.shape());
    std::memcpy(t.raw(), source.raw(), static_cast<size_t>(source.bytes()));
    flags = dlpack::kIsCopied;
  }
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

PyTensor FromTensor(const dlpack::Tensor& d, const py::object& copy,
                    const std::function<void()>& release) {
  const std::shared_ptr<void> owner(nullptr, [release](void*) { release(); });
  const auto dtype = TypeOfImport(d.dtype);
  if (d.device.type != dlpack::kCpu || !dtype) {
    BufferError(StrCat("from_dlpack: cannot import ",
                       d.device.type != dlpack::kCpu
                           ? "memory of another device; copy it to cpu first"
                           : "this dtype; accepted are those of ostria.dtypes"));
  }
  Shape shape;
  for (int i = 0; i < d.ndim; ++i) shape.Append(d.shape[i]);
  const int64_t bytes = shape.numel() * SizeOf(*dtype);
  int64_t stride = 1;
  bool dense = true;
  for (int i = d.ndim - 1; i >= 0 && bytes > 0; --i) {
    dense &= d.strides == nullptr || d.shape[i] == 1 || d.strides[i] == stride;
    stride *= d.shape[i];
  }
  auto* data = static_cast<std::byte*>(d.data) + d.byte_offset;
  const bool aligned =
      reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(SizeOf(*dtype)) == 0;
  const bool share = dense && aligned && bytes > 0;
  if (!copy.is_none() && !copy.cast<bool>() && !share) {
    BufferError("from_dlpack: copy=False, but the tensor is strided or not aligned; use copy=None");
  }
  if (share && (copy.is_none() || !copy.cast<bool>())) {
    return PyTensor::Concrete(ostria::Tensor(
        *dtype, shape, Buffer::Borrow(data, static_cast<size_t>(bytes), [owner] {})));
  }
  ostria::Tensor t = ostria::Tensor::Empty(*dtype, shape);
  if (bytes > 0) {
    auto* to = t.data<std::byte>();
    if (dense)
      std::memcpy(to, data, static_cast<size_t>(bytes));
    else
      CopyStrided(d, 0, data, to, SizeOf(*dtype));
  }
  return PyTensor::Concrete(std::move(t));
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

PyTensor FromDlpack(const py::object& source, const py::object& copy) {
  if (!py::hasattr(source, "__dlpack__")) {
    throw py::type_error("from_dlpack: the object has no __dlpack__ method; use ost.asarray");
  }
  py::object made;
  try {
    made = source.attr("__dlpack__")(py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_TypeError)) throw;
    made = source.attr("__dlpack__")();  // a producer of before 1.0
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
                      const DeviceId d = data(self).device();
                      const auto kind = d.kind == DeviceKind::kCuda ? dlpack::kCuda : dlpack::kCpu;
                      return py::make_tuple(static_cast<int>(kind), static_cast<int>(d.ordinal));
                    },
                    py::name("__dlpack_device__"), py::is_method(cls)));
  };
  add(m.attr("Tensor"), [](const py::object& self) -> ostria::Tensor {
    return RequireData(*AsPyTensor(self.ptr()), "__dlpack__");
  });
  m.def("from_dlpack", &FromDlpack, py::arg("x"), py::kw_only(), py::arg("copy") = py::none(),
        "A tensor of any object with __dlpack__. Dense memory is shared, strided memory copied.");
}

}  // namespace ostria
