// SPDX-License-Identifier: Apache-2.0
// Traces, tapes and gradients for Python. python/ostria/_compile.py and _autodiff.py drive them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "autodiff/gradient.h"
#include "bindings/bindings.h"
#include "bindings/call_op.h"
#include "bindings/py_variable.h"
#include "bindings/trace.h"
#include "ops/ops.h"

namespace py = pybind11;

namespace ostria {
namespace {

using TracePtr = std::shared_ptr<Trace>;

Trace& RequireTrace(std::string_view what) {
  Trace* trace = Trace::Current();
  if (trace == nullptr) {
    Fail(ErrorCode::kInvalidArgument, what,
         ": no function is being traced and no tape records; call "
         "it inside a function given to ost.compile or ost.grad, or inside ost.GradientTape");
  }
  return *trace;
}

Value AsValue(Trace& trace, const py::handle& object) {
  if (PyTensor* t = AsPyTensor(object.ptr())) return trace.Use(*t);
  if (const auto* v = AsPyVariable(object.ptr())) return trace.Read(*v);
  return trace.Use(PyTensor::Concrete(TensorFromArray(object, true)));
}

py::list Wrapped(Trace& trace, const std::vector<Value>& values) {
  py::list out;
  for (Value v : values) out.append(py::reinterpret_steal<py::object>(NewPyTensor(trace.Wrap(v))));
  return out;
}

// d(sum of outputs * cotangents) / d(wrt), appended to the trace; on a tape also computed.
py::list GradientsIn(Trace& trace, const py::list& outputs, const py::list& cotangents,
                     const py::list& wrt) {
  trace.ApplyPrecision();
  std::vector<Value> ys, gs, xs;
  std::vector<size_t> ends;  // in xs, after the values of each of wrt
  for (py::handle y : outputs) ys.push_back(AsValue(trace, y));
  for (py::handle g : cotangents) gs.push_back(g.is_none() ? Value{} : AsValue(trace, g));
  for (py::handle x : wrt) {
    if (const auto* v = AsPyVariable(x.ptr())) {
      const std::vector<Value> versions = trace.Versions(*v);
      xs.insert(xs.end(), versions.begin(), versions.end());
    } else {
      xs.push_back(AsValue(trace, x));
    }
    ends.push_back(xs.size());
  }
  Graph& g = trace.graph();
  const NodeId last = g.last();
  std::vector<bool> connected;
  const std::vector<Value> all = Gradients(g, ys, gs, xs, &connected);
  std::vector<Value> out;
  for (size_t i = 0; i < ends.size(); ++i) {
    size_t at = i == 0 ? 0 : ends[i - 1];
    Value sum = all[at];
    bool any = connected[at];
    for (++at; at < ends[i]; ++at) {
      if (!connected[at]) continue;
      Builder b(g, g.location(all[at]));
      sum = any ? b(ops::kAdd, {sum, all[at]}) : all[at];
      any = true;
    }
    out.push_back(sum);
  }
  trace.SkipPrecision();
  if (trace.kind() == Trace::Kind::kTape) {
    const NodeId from = last.valid() ? g.next(last) : g.first();
    if (from.valid()) trace.RunFrom(from);
  }
  return Wrapped(trace, out);
}

}  // namespace

void BindTrace(py::module_& m) {
  py::class_<Trace, TracePtr>(m, "Trace")
      .def(py::init([](const std::string& kind) {
             using K = Trace::Kind;
             using S = Trace::State;
             if (kind == "body") return std::make_shared<Trace>(K::kBody, S::kWritten);
             if (kind == "condition") return std::make_shared<Trace>(K::kBody, S::kRead);
             if (kind == "function") return std::make_shared<Trace>(K::kBody, S::kCaptured);
             return std::make_shared<Trace>(kind == "tape" ? K::kTape : K::kGraph);
           }),
           py::arg("kind"),
           "'graph', 'tape', the 'body' of a control op, a 'condition', or another 'function'.")
      .def("push", &Trace::Push)
      .def("pop", &Trace::Pop)
      .def_property_readonly("open", &Trace::open)
      .def_property_readonly("is_tape",
                             [](const Trace& t) { return t.kind() == Trace::Kind::kTape; })
      .def_property_readonly("is_body",
                             [](const Trace& t) { return t.kind() == Trace::Kind::kBody; })
      .def_readonly("scratch", &Trace::scratch)
      .def(
          "add_input",
          [](Trace& t, std::string name, DType dtype, const py::tuple& dims,
             const py::object& source) {
            Shape shape;
            for (py::handle d : dims) {
              if (py::isinstance<py::str>(d))
                shape.Append(Dim::Symbol(d.cast<std::string>()));
              else
                shape.Append(d.cast<Dim>());
            }
            return t.AddInput(std::move(name), {dtype, shape}, AsPyTensor(source.ptr()));
          },
          py::arg("name"), py::arg("dtype"), py::arg("dims"), py::arg("source") = py::none())
      .def("use", [](Trace& t, const py::object& x) { return t.Wrap(AsValue(t, x)); })
      .def("watch",
           [](Trace& t,
              const py::object& x) {  // in place: the tensor itself becomes a recorded value
             if (PyTensor* p = AsPyTensor(x.ptr()))
               *p = t.Wrap(t.Use(*p));
             else if (const auto* v = AsPyVariable(x.ptr()))
               t.Read(*v);
             else
               Fail(ErrorCode::kTypeError, "watch: give a Tensor or a Variable");
           })
      .def("divide", &Trace::Divide, py::arg("variable"), py::arg("parts"),
           "Each replica holds a part of the variable, and reads and assigns that alone.")
      .def("set_commit", [](Trace& t, const PyTensor& c) { t.SetCommit(t.Use(c)); })
      .def_property_readonly("commit",
                             [](Trace& t) -> py::object {
                               const Value commit = t.Commit();
                               return commit.valid() ? py::cast(t.Wrap(commit)) : py::none();
                             })
      .def("is_commit", [](Trace& t, const PyTensor& c) { return t.Commit() == t.Use(c); })
      .def("gradients", [](Trace& t, const py::list& ys, const py::list& gs,
                           const py::list& xs) { return GradientsIn(t, ys, gs, xs); })
      .def("variables", [](const Trace& t) { return t.variables(); })
      .def("captures", [](const Trace& t) { return t.captures(); })
      .def(
          "flops",
          [](Trace& t) {
            py::list all;
            const Graph& g = t.graph();
            for (NodeId n = g.first(); n.valid(); n = g.next(n)) all.append(Flops(g, n));
            return all;
          },
          "Floating-point operations of each node so far, in program order.")
      .def("set_precision", &Trace::SetPrecision, py::arg("low"))
      .def(
          "precision_notes",
          [](const Trace& t) {
            py::list rows;
            if (t.precision() == nullptr) return rows;
            for (const auto& note : t.precision()->notes()) {
              rows.append(py::make_tuple(note.op, note.dtype, note.why, note.line));
            }
            return rows;
          },
          "(op, dtype, reason, user line) of what mixed precision cast or was kept from casting.")
      .def_property_readonly("num_nodes", [](Trace& t) { return t.graph().num_nodes(); })
      .def("text", [](const Trace& t) { return Print(const_cast<Trace&>(t).graph()); });
  m.def("current_trace", []() -> py::object {
    Trace* t = Trace::Current();
    return t == nullptr ? py::object(py::none()) : py::cast(t->shared_from_this());
  });
  m.def(
      "gradients",
      [](const py::list& ys, const py::list& gs, const py::list& xs) {
        return GradientsIn(RequireTrace("gradients"), ys, gs, xs);
      },
      py::arg("outputs"), py::arg("cotangents"), py::arg("wrt"));

  // A closed body from a finished `function` trace: its inputs are the declared ones, then the
  // captures.
  m.def(
      "call_body",
      [](const py::object& forward, const py::list& forward_outputs, const py::object& backward,
         const py::list& backward_outputs, const py::list& arguments) {
        Trace& trace = RequireTrace("custom_gradient");
        const auto close = [](const py::object& t, const py::list& outputs) -> Body {
          if (t.is_none()) return nullptr;
          Trace& body = *t.cast<TracePtr>();
          body.EndPrecision();
          for (py::handle y : outputs) {
            body.graph().AddOutput(StrCat("y", body.graph().outputs().size()),
                                   body.Use(*AsPyTensor(y.ptr())));
          }
          return std::make_shared<const Graph>(std::move(body.graph()));
        };
        const Body f = close(forward, forward_outputs), b = close(backward, backward_outputs);
        std::vector<Value> operands;
        for (py::handle a : arguments) operands.push_back(AsValue(trace, a));
        py::list out;
        for (PyTensor& t :
             trace.AddOp(ops::kCall, operands, {f, b, false, false}, CaptureLocation())) {
          out.append(py::reinterpret_steal<py::object>(NewPyTensor(std::move(t))));
        }
        return out;
      },
      py::arg("forward"), py::arg("forward_outputs"), py::arg("backward"),
      py::arg("backward_outputs"), py::arg("arguments"));
  m.def("capture_location", [] { return ShortLocation(CaptureLocation()); });
  m.def(
      "parse_graph", [](const std::string& text) { return Print(Parse(text)); }, py::arg("text"),
      "Reads graph text and prints it again.");
  m.def("set_verify", &SetVerifyEnabled);
}

}  // namespace ostria
