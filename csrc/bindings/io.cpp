// SPDX-License-Identifier: Apache-2.0
// `ostria._native.io`: files and checkpoints. Tensors come as C-contiguous NumPy arrays, or as a
// pair (uint16 array, "bfloat16"), and go as pairs (dtype name, array); python/ostria/io is the
// public face. Invariant: the interpreter's lock is released while bytes are read or written.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/checkpoint.h"
#include "io/crc32c.h"
#include "io/event_file.h"
#include "io/record_file.h"
#include "io/tensor_file.h"

namespace py = pybind11;

namespace ostria {
namespace {

// NumPy has no bfloat16: its bits travel as uint16.
py::dtype NumpyDType(DType dtype) {
  return py::dtype(dtype == DType::kBFloat16 ? "uint16" : std::string(Name(dtype)));
}

// Borrows the arrays' memory; `owners` keeps them alive while the tensors are used.
NamedTensors FromArrays(const py::dict& arrays, std::vector<py::object>* owners) {
  NamedTensors tensors;
  for (const auto& [key, value] : arrays) {
    if (!py::isinstance<py::str>(key)) {
      Fail(ErrorCode::kTypeError, "tensors: the name ", py::repr(key).cast<std::string>(),
           " is not a str");
    }
    const auto name = key.cast<std::string>();
    py::object item = py::reinterpret_borrow<py::object>(value);
    bool bfloat16 = false;
    if (py::isinstance<py::tuple>(item)) {
      const auto pair = item.cast<py::tuple>();
      bfloat16 = pair.size() == 2 && py::isinstance<py::str>(pair[1]) &&
                 pair[1].cast<std::string>() == "bfloat16";
      if (!bfloat16) {
        Fail(ErrorCode::kTypeError, "tensors: \"", name,
             "\" is a tuple; an array or a pair (uint16 array, \"bfloat16\") is accepted");
      }
      item = pair[0];
    }
    if (!py::isinstance<py::array>(item)) {
      Fail(ErrorCode::kTypeError, "tensors: \"", name, "\" is a ",
           py::type::of(item).attr("__name__").cast<std::string>(), "; a NumPy array is accepted");
    }
    const auto array = item.cast<py::array>();
    const auto dtype_name = array.dtype().attr("name").cast<std::string>();
    DType dtype;
    if (!ParseDType(dtype_name, &dtype) || !array.dtype().attr("isnative").cast<bool>() ||
        (bfloat16 && dtype != DType::kUInt16)) {
      Fail(ErrorCode::kTypeError, "tensors: \"", name, "\" has the NumPy dtype ",
           py::str(array.dtype().attr("str")).cast<std::string>(), " (", dtype_name,
           "); native bool, int8..int64, uint8..uint64, float16, float32 and float64 are accepted, "
           "and (uint16 array, \"bfloat16\")");
    }
    if ((array.flags() & py::array::c_style) == 0) {
      Fail(ErrorCode::kInvalidArgument, "tensors: \"", name,
           "\" is not C-contiguous; pass numpy.asarray(x, order=\"C\")");
    }
    Shape shape;
    for (py::ssize_t i = 0; i < array.ndim(); ++i) shape.Append(array.shape(i));
    auto buffer =
        Buffer::Borrow(const_cast<void*>(array.data()), static_cast<size_t>(array.nbytes()), [] {});
    tensors.emplace_back(name,
                         Tensor(bfloat16 ? DType::kBFloat16 : dtype, shape, std::move(buffer)));
    owners->push_back(array);
  }
  return tensors;
}

py::tuple ToArray(const Tensor& tensor) {
  auto keep = std::make_unique<Tensor>(tensor);
  std::vector<py::ssize_t> shape;
  for (Dim d : tensor.shape()) shape.push_back(d.value());
  const py::capsule owner(keep.get(), [](void* p) { delete static_cast<Tensor*>(p); });
  keep.release();
  return py::make_tuple(std::string(Name(tensor.dtype())),
                        py::array(NumpyDType(tensor.dtype()), shape, tensor.raw(), owner));
}

py::dict ToArrays(const NamedTensors& tensors) {
  py::dict out;
  for (const auto& [name, tensor] : tensors) out[py::str(name)] = ToArray(tensor);
  return out;
}

py::tuple ToTuple(const CheckpointData& data) {
  py::dict blobs;
  for (const auto& [name, blob] : data.blobs) blobs[py::str(name)] = py::bytes(blob);
  return py::make_tuple(data.step, ToArrays(data.tensors), blobs, data.metadata);
}

template <class Fn>
auto WithoutGil(Fn&& fn) {
  const py::gil_scoped_release release;
  return fn();
}

void BindTensorFiles(py::module_& io) {
  io.def(
      "write_tensor_file",
      [](const std::string& path, const py::dict& tensors, const Metadata& metadata) {
        std::vector<py::object> owners;
        const NamedTensors named = FromArrays(tensors, &owners);
        WithoutGil([&] { WriteTensorFile(path, named, metadata); });
      },
      py::arg("path"), py::arg("tensors"), py::arg("metadata") = Metadata());
  io.def(
      "read_tensor_file",
      [](const std::string& path) {
        const TensorFile file = WithoutGil([&] { return ReadTensorFile(path); });
        return py::make_tuple(ToArrays(file.tensors), file.metadata);
      },
      py::arg("path"), "({name: (dtype, array)}, metadata)");
  io.def(
      "read_tensor_file_index",
      [](const std::string& path) {
        const TensorFileReader reader(path);
        py::dict out;
        for (const TensorEntry& entry : reader.index().entries) {
          py::list shape;
          for (Dim d : entry.shape) shape.append(d.value());
          out[py::str(entry.name)] =
              py::make_tuple(std::string(Name(entry.dtype)), py::tuple(shape));
        }
        return py::make_tuple(out, reader.index().metadata);
      },
      py::arg("path"), "({name: (dtype, shape)}, metadata), without reading the data");
}

void BindCheckpoints(py::module_& io) {
  io.def(
      "save_checkpoint",
      [](const std::string& directory, int64_t step, const py::dict& tensors,
         const std::map<std::string, std::string>& blobs, const Metadata& metadata, int keep_max,
         double keep_every_n_hours) {
        std::vector<py::object> owners;
        const CheckpointData data{step, FromArrays(tensors, &owners), blobs, metadata};
        std::vector<std::string> warnings;
        std::string path = WithoutGil([&] {
          return SaveCheckpoint(directory, data, {keep_max, keep_every_n_hours}, &warnings);
        });
        return std::make_pair(std::move(path), std::move(warnings));
      },
      py::arg("directory"), py::arg("step"), py::arg("tensors"),
      py::arg("blobs") = std::map<std::string, std::string>(), py::arg("metadata") = Metadata(),
      py::arg("keep_max") = 5, py::arg("keep_every_n_hours") = 10000.0, "(path, warnings)");
  io.def(
      "load_checkpoint",
      [](const std::string& path) {
        return ToTuple(WithoutGil([&] { return LoadCheckpoint(path); }));
      },
      py::arg("path"), "(step, {name: (dtype, array)}, {name: bytes}, metadata)");
  io.def(
      "load_latest",
      [](const std::string& directory) {
        std::vector<std::string> warnings;
        const auto latest = WithoutGil([&] { return LoadLatest(directory, &warnings); });
        py::object found = py::none();
        if (latest) found = py::make_tuple(latest->path, ToTuple(latest->data));
        return py::make_tuple(found, warnings);
      },
      py::arg("directory"), "((path, as load_checkpoint) or None, warnings)");
  io.def(
      "list_checkpoints",
      [](const std::string& directory) {
        std::vector<std::pair<int64_t, std::string>> found;
        for (CheckpointInfo& info : ListCheckpoints(directory)) {
          found.emplace_back(info.step, std::move(info.path));
        }
        return found;
      },
      py::arg("directory"), "[(step, path)], oldest first");
}

void BindEvents(py::module_& io) {
  py::class_<EventWriter>(io, "EventWriter")
      .def(py::init<const std::string&, const std::string&>(), py::arg("directory"),
           py::arg("suffix") = "", py::call_guard<py::gil_scoped_release>())
      .def("scalar", &EventWriter::Scalar, py::arg("tag"), py::arg("value"), py::arg("step"),
           py::arg("wall_time") = -1.0, py::call_guard<py::gil_scoped_release>())
      .def(
          "histogram",
          [](EventWriter& writer, const std::string& tag,
             const py::array_t<double, py::array::c_style | py::array::forcecast>& values,
             int64_t step, int buckets, double wall_time) {
            const std::span<const double> span(values.data(), static_cast<size_t>(values.size()));
            WithoutGil([&] { writer.Histogram(tag, span, step, buckets, wall_time); });
          },
          py::arg("tag"), py::arg("values"), py::arg("step"), py::arg("buckets") = 30,
          py::arg("wall_time") = -1.0)
      .def("flush", &EventWriter::Flush, py::call_guard<py::gil_scoped_release>())
      .def("close", &EventWriter::Close, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("path", &EventWriter::path);
  io.def("read_scalars", &ReadScalars, py::arg("path"), py::call_guard<py::gil_scoped_release>(),
         "{step: {tag: value}}");
}

void BindRecords(py::module_& io) {
  py::class_<RecordWriter>(io, "RecordWriter")
      .def(py::init([](const std::string& path, bool append) {
             return std::make_unique<RecordWriter>(
                 path, append ? OutputFile::Mode::kAppend : OutputFile::Mode::kReplace);
           }),
           py::arg("path"), py::arg("append") = false)
      .def(
          "write",
          [](RecordWriter& writer, const py::bytes& record) {
            writer.Write(std::string_view(record));
          },
          py::arg("record"))
      .def("flush", &RecordWriter::Flush)
      .def("close", &RecordWriter::Close);
  py::class_<RecordReader>(io, "RecordReader")
      .def(py::init([](const std::string& path, bool stop_at_cut, bool skip_damage) {
             using R = RecordReader;
             return std::make_unique<R>(path, stop_at_cut ? R::Tail::kStop : R::Tail::kError,
                                        skip_damage ? R::Damage::kSkip : R::Damage::kError);
           }),
           py::arg("path"), py::arg("stop_at_cut") = false, py::arg("skip_damage") = false)
      .def("read",
           [](RecordReader& reader) -> py::object {
             std::string record;
             if (!reader.Read(&record)) return py::none();
             return py::bytes(record);
           })
      .def_property_readonly("offset", &RecordReader::offset)
      .def_property_readonly("num_skipped", &RecordReader::num_skipped)
      .def_property_readonly("skipped", &RecordReader::skipped)
      .def("seek", &RecordReader::Seek, py::arg("offset"));
}

}  // namespace

void BindIo(py::module_& m) {
  py::module_ io = m.def_submodule("io", "Files and checkpoints; see ostria.io.");
  io.def(
      "crc32c", [](const py::bytes& data) { return Crc32c(std::string_view(data)); },
      py::arg("data"));
  BindTensorFiles(io);
  BindCheckpoints(io);
  BindEvents(io);
  BindRecords(io);
}

}  // namespace ostria
