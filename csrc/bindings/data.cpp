// SPDX-License-Identifier: Apache-2.0
// The input pipeline for Python: ostria.data builds on these flat, unnamed forms and keeps the
// nesting. The interpreter's lock is taken here and nowhere else: it is held only inside callbacks,
// and let go whenever the pipeline works or waits. At exit the input threads end before the
// interpreter does.
#include "data/dataset.h"

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>

#include "data/background.h"

namespace py = pybind11;

namespace ostria {

void BindData(py::module_& m);

namespace {

using data::DatasetPtr;
using data::Element;

std::atomic<bool> going_down{false};

/// A reference that may be dropped on any thread, whatever holds the lock and however late.
class Shared {
 public:
  explicit Shared(py::object object) : object_(object.release().ptr()) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() {
    if (going_down || !Py_IsInitialized()) return;  // the process ends: nothing to give back
    const py::gil_scoped_acquire gil;
    Py_DECREF(object_);
  }
  py::handle get() const { return object_; }

 private:
  PyObject* object_;
};

DType DTypeOf(const py::dtype& d) {
  DType dtype;
  const std::string name = py::str(d.attr("name"));
  if (!ParseDType(name, &dtype) || !py::bool_(d.attr("isnative"))) {
    Fail(ErrorCode::kTypeError, "data: arrays of dtype ", std::string(py::str(d)),
         " are not supported; accepted are bool, (u)int8 to (u)int64, float16, bfloat16, float32 "
         "and float64 of native byte order; use array.astype(...)");
  }
  return dtype;
}

/// Shares the memory of a C-contiguous array.
Tensor ToTensor(py::handle object) {
  py::array a = py::array::ensure(object, py::array::c_style);
  if (!a) throw py::error_already_set();
  const DType dtype = DTypeOf(a.dtype());
  Shape shape;
  for (py::ssize_t i = 0; i < a.ndim(); ++i) shape.Append(a.shape(i));
  auto keep = std::make_shared<Shared>(a);
  return Tensor(dtype, shape,
                Buffer::Borrow(const_cast<void*>(a.data()), static_cast<size_t>(a.nbytes()),
                               [keep]() mutable { keep.reset(); }));
}

/// A read-only view: nobody writes a buffer after its tensor was handed out.
py::object ToArray(const Tensor& tensor) {
  std::vector<py::ssize_t> shape;
  for (Dim d : tensor.shape()) shape.push_back(d.value());
  py::object dtype;
  if (tensor.dtype() == DType::kBFloat16) {
    dtype = py::module_::import("ml_dtypes").attr("bfloat16");
  } else {
    dtype = py::str(std::string(Name(tensor.dtype())));
  }
  const py::capsule owner(new Tensor(tensor), [](void* t) { delete static_cast<Tensor*>(t); });
  py::array a(py::dtype::from_args(dtype), shape, tensor.raw(), owner);
  a.attr("flags").attr("writeable") = false;
  return a;
}

py::list ToList(const Element& element) {
  py::list list;
  for (const Tensor& t : element) list.append(ToArray(t));
  return list;
}

Element ToElement(py::handle leaves) {
  Element element;
  for (py::handle leaf : leaves) element.push_back(ToTensor(leaf));
  return element;
}

/// `source.reset(epoch)` and `source.next()`, which returns a list of arrays or None.
class PythonSource final : public data::ExternalSource {
 public:
  explicit PythonSource(py::object source) : source_(std::move(source)) {}
  void Reset(int64_t epoch) override {
    const py::gil_scoped_acquire gil;
    source_.get().attr("reset")(epoch);
  }
  bool Next(Element* out) override {
    const py::gil_scoped_acquire gil;
    const py::object leaves = source_.get().attr("next")();
    if (leaves.is_none()) return false;
    *out = ToElement(leaves);
    return true;
  }

 private:
  Shared source_;
};

/// fn(list of arrays) -> list of arrays.
class PythonFunction final : public data::MapFunction {
 public:
  explicit PythonFunction(py::object fn) : fn_(std::move(fn)) {}
  void Call(const Element& in, Element* out) override {
    const py::gil_scoped_acquire gil;
    *out = ToElement(fn_.get()(ToList(in)));
  }

 private:
  Shared fn_;
};

struct PyDataset {
  DatasetPtr dataset;
};

/// The lock is open while the iterator works, waits and ends: its threads may need it to finish.
class PyIterator {
 public:
  explicit PyIterator(const PyDataset& d) {
    const DatasetPtr dataset = d.dataset;
    const py::gil_scoped_release open;
    iterator_ = std::make_unique<data::Iterator>(dataset);
  }
  ~PyIterator() {
    const py::gil_scoped_release open;
    iterator_.reset();
  }
  py::object Next() {
    Element element;
    bool more = false;
    {
      const py::gil_scoped_release open;
      more = iterator_->Next(&element);
    }
    if (!more) return py::none();
    return ToList(element);
  }
  std::string Save() const {
    const py::gil_scoped_release open;
    return iterator_->SaveState();
  }
  void Restore(const std::string& text) {
    const py::gil_scoped_release open;
    iterator_->RestoreState(text);
  }
  const data::Iterator& get() const { return *iterator_; }

 private:
  std::unique_ptr<data::Iterator> iterator_;
};

std::optional<std::vector<data::ComponentSpec>> ToSignature(const py::object& signature) {
  if (signature.is_none()) return std::nullopt;
  std::vector<data::ComponentSpec> specs;
  for (py::handle item : signature) {  // (dtype name, None or a list of sizes, -1 for any)
    const auto pair = py::cast<py::tuple>(item);
    data::ComponentSpec spec;
    spec.dtype = DTypeOf(py::dtype::from_args(pair[0]));
    spec.any_shape = pair[1].is_none();
    if (!spec.any_shape) spec.sizes = py::cast<std::vector<int64_t>>(pair[1]);
    specs.push_back(std::move(spec));
  }
  return specs;
}

}  // namespace

void BindData(py::module_& m) {
  py::module_ d = m.def_submodule("data", "The input pipeline. Use ostria.data.");
  py::class_<PyDataset>(d, "Dataset")
      .def("cardinality", [](const PyDataset& p) { return p.dataset->Cardinality(); })
      .def("has_rows", [](const PyDataset& p) { return p.dataset->rows() != nullptr; });
  d.def("from_tensor_slices", [](const py::list& arrays) {
    return PyDataset{data::FromTensorSlices(ToElement(arrays))};
  });
  d.def("range", [](int64_t start, int64_t stop, int64_t step) {
    return PyDataset{data::Range(start, stop, step)};
  });
  d.def("from_source", [](py::object make, const py::object& signature) {
    auto shared = std::make_shared<Shared>(std::move(make));
    const data::SourceFactory factory = [shared]() -> std::unique_ptr<data::ExternalSource> {
      const py::gil_scoped_acquire gil;
      return std::make_unique<PythonSource>(shared->get()());
    };
    return PyDataset{data::FromSource(factory, ToSignature(signature))};
  });
  d.def("shuffle",
        [](const PyDataset& p, int64_t buffer_size, std::optional<int64_t> seed, bool reshuffle) {
          return PyDataset{data::Shuffle(p.dataset, buffer_size, seed, reshuffle)};
        });
  d.def("repeat",
        [](const PyDataset& p, int64_t n) { return PyDataset{data::Repeat(p.dataset, n)}; });
  d.def("batch", [](const PyDataset& p, int64_t size, bool drop_remainder) {
    return PyDataset{data::Batch(p.dataset, size, drop_remainder)};
  });
  d.def("map", [](const PyDataset& p, py::object fn, int64_t threads) {
    return PyDataset{
        data::Map(p.dataset, std::make_shared<PythonFunction>(std::move(fn)), threads)};
  });
  d.def("batch_share", [](const PyDataset& p, int64_t size, bool drop_remainder, int64_t first,
                          int64_t count, int64_t total) {
    const data::BatchShare share{first, count, total};
    return PyDataset{data::Batch(p.dataset, size, drop_remainder, share)};
  });
  d.def("take", [](const PyDataset& p, int64_t n) { return PyDataset{data::Take(p.dataset, n)}; });
  d.def("skip", [](const PyDataset& p, int64_t n) { return PyDataset{data::Skip(p.dataset, n)}; });
  d.def("prefetch",
        [](const PyDataset& p, int64_t n) { return PyDataset{data::Prefetch(p.dataset, n)}; });
  d.def("enumerate",
        [](const PyDataset& p, int64_t n) { return PyDataset{data::Enumerate(p.dataset, n)}; });
  d.def("zip", [](const std::vector<PyDataset>& all) {
    std::vector<DatasetPtr> inputs;
    for (const PyDataset& p : all) inputs.push_back(p.dataset);
    return PyDataset{data::Zip(std::move(inputs))};
  });
  py::class_<PyIterator>(d, "Iterator")
      .def(py::init<const PyDataset&>())
      .def("next", &PyIterator::Next)
      .def("save", &PyIterator::Save)
      .def("restore", &PyIterator::Restore)
      .def("wait_nanoseconds", [](const PyIterator& it) { return it.get().wait_nanoseconds(); })
      .def("ahead_nanoseconds", [](const PyIterator& it) { return it.get().ahead_nanoseconds(); })
      .def("elements", [](const PyIterator& it) { return it.get().elements(); });

  data::SetWaitHook([] {  // Ctrl-C ends a wait for an element
    if (going_down) return;
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  });
  py::module_::import("atexit").attr("register")(py::cpp_function([] {
    {
      const py::gil_scoped_release open;
      data::StopInputThreads(2000);
    }
    going_down = true;
  }));
}

}  // namespace ostria
