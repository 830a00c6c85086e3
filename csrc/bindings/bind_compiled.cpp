// SPDX-License-Identifier: Apache-2.0
// CompiledGraph for Python: made from a finished trace, called with a list of tensors.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <tuple>

#include "backend/backend.h"
#include "bindings/bindings.h"
#include "bindings/py_tensor.h"
#include "bindings/py_variable.h"
#include "bindings/trace.h"
#include "dist/fingerprint.h"
#include "runtime/agreement.h"
#include "runtime/compiled_graph.h"
#include "runtime/plan_launches.h"
#include "runtime/shuffled.h"

namespace py = pybind11;

namespace ostria {
namespace {

// A compiled graph, the concrete tensors that its function closed over, and room for its calls.
struct Compiled {
  Compiled(Graph graph, std::vector<std::shared_ptr<Variable>> variables,
           std::vector<Tensor> captured, DeviceId device, int64_t memory_limit,
           bool recompute = false)
      : compiled(std::move(graph), std::move(variables), device, memory_limit, recompute),
        captures(std::move(captured)) {}
  Compiled(Graph graph, std::vector<std::shared_ptr<Variable>> variables,
           std::vector<Tensor> captured, std::shared_ptr<ReplicaGroup> replicas,
           int64_t memory_limit, bool recompute, std::vector<Parts> parts, std::string label)
      : compiled(std::move(graph), std::move(variables), std::move(replicas), memory_limit,
                 recompute, std::move(parts), std::move(label)),
        captures(std::move(captured)) {}
  CompiledGraph compiled;
  std::vector<Tensor> captures;
  int64_t calls = 0;
};

std::shared_ptr<Compiled> Finish(Trace& trace, const py::list& outputs, const std::string& device,
                                 int64_t memory_limit, bool recompute,
                                 std::optional<std::shared_ptr<ReplicaGroup>> replicas,
                                 const std::vector<int>& own_inputs, const std::string& label) {
  trace.EndPrecision();
  int index = 0;
  for (py::handle y : outputs) {
    Value v;
    if (PyTensor* t = AsPyTensor(y.ptr()))
      v = trace.Use(*t);
    else if (const auto* var = AsPyVariable(y.ptr()))
      v = trace.Read(*var);
    else
      v = trace.Use(PyTensor::Concrete(TensorFromArray(y, true)));
    trace.graph().AddOutput(StrCat("y", index++), v);
  }
  trace.FinishState();
  std::vector<Tensor> captured;
  for (const PyTensor& t : trace.captures())
    captured.push_back(RequireData(t, "a closed-over value"));
  if (VerifyEnabled()) Verify(trace.graph(), "trace");
  if (replicas.has_value()) {
    std::vector<Parts> parts = trace.parts();
    RequireAgreement(trace.graph(), trace.variables(), own_inputs, parts);
    return std::make_shared<Compiled>(trace.graph().Clone(), trace.variables(), std::move(captured),
                                      std::move(*replicas), memory_limit, recompute,
                                      std::move(parts), label);
  }
  return std::make_shared<Compiled>(trace.graph().Clone(), trace.variables(), std::move(captured),
                                    ParseDevice(device), memory_limit, recompute);
}

std::vector<Tensor> Inputs(const Compiled& c, const py::handle& arguments) {
  std::vector<Tensor> inputs;
  const auto list = py::reinterpret_borrow<py::sequence>(arguments);
  inputs.reserve(list.size() + c.captures.size());
  for (py::handle a : list) {
    if (PyTensor* t = AsPyTensor(a.ptr()))
      inputs.push_back(RequireData(*t, "a compiled function"));
    else if (const auto* v = AsPyVariable(a.ptr()))
      inputs.push_back((*v)->View());
    else
      inputs.push_back(TensorFromArray(a, false));
  }
  inputs.insert(inputs.end(), c.captures.begin(), c.captures.end());
  return inputs;
}

py::list ToList(std::vector<Tensor> tensors) {
  py::list out(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i),
                    NewPyTensor(PyTensor::Concrete(std::move(tensors[i]))));
  }
  return out;
}

py::list Run(Compiled& c, const py::handle& arguments, bool debug) {
  std::vector<Tensor> outputs;
  {
    const std::vector<Tensor> inputs = Inputs(c, arguments);
    ++c.calls;
    py::gil_scoped_release release;
    c.compiled.Run(inputs, &outputs, debug);
  }
  return ToList(std::move(outputs));
}

// `arguments`: those of each replica, in a list.
std::vector<std::vector<Tensor>> ReplicaInputs(const Compiled& c, const py::list& arguments) {
  std::vector<std::vector<Tensor>> inputs;
  for (py::handle of_replica : arguments) inputs.push_back(Inputs(c, of_replica));
  return inputs;
}

py::list RunReplicas(Compiled& c, const py::list& arguments, bool debug) {
  std::vector<std::vector<Tensor>> outputs;
  {
    const std::vector<std::vector<Tensor>> inputs = ReplicaInputs(c, arguments);
    ++c.calls;
    py::gil_scoped_release release;
    c.compiled.RunReplicas(inputs, &outputs, debug);
  }
  py::list results;
  for (std::vector<Tensor>& of_replica : outputs) results.append(ToList(std::move(of_replica)));
  return results;
}

py::list CostRows(const Plan& plan, const std::vector<double>& ns) {
  py::list rows;
  for (auto i = static_cast<size_t>(plan.num_kept); i < ns.size(); ++i) {
    const Step& s = plan.steps[i];
    rows.append(py::make_tuple(plan.graph.op(s.node).name, s.kernel->impl, s.state->detail,
                               ShortLocation(plan.graph.location(s.node)), ns[i]));
  }
  return rows;
}

py::object RunSame(Compiled& c, const py::tuple& arguments) {
  const std::shared_ptr<const Executable> latest = c.compiled.Latest();
  if (latest == nullptr || Trace::Current() != nullptr) return py::none();
  const auto& types = latest->plan().inputs;
  if (arguments.size() + c.captures.size() != types.size()) return py::none();
  for (size_t i = 0; i < arguments.size(); ++i) {
    const PyTensor* t = AsPyTensor(PyTuple_GET_ITEM(arguments.ptr(), static_cast<Py_ssize_t>(i)));
    if (t == nullptr || !t->has_data() || t->type != types[i]) return py::none();
  }
  return Run(c, arguments, false);
}

py::dict Stats(const PlanStats& s) {
  py::dict d;
  d["peak_bytes"] = s.peak_bytes();
  d["activation_bytes"] = s.activation_bytes;
  d["liveness_bytes"] = s.liveness_bytes;
  d["state_bytes"] = s.state_bytes;
  d["input_bytes"] = s.input_bytes;
  d["output_bytes"] = s.output_bytes;
  d["constant_bytes"] = s.constant_bytes;
  d["kept_bytes"] = s.kept_bytes;
  d["recomputed_nodes"] = s.recomputed_nodes;
  d["moved_bytes"] = s.moved_bytes;
  d["fused_bound_bytes"] = s.fused_bound_bytes;
  return d;
}

// `description`: of the device, where it need not be there.
DeviceProps PropsOf(const std::string& device, const std::string& description) {
  const DeviceId id = ParseDevice(device);
  const Backend& backend = FindBackend(id.kind);
  return description.empty() ? backend.Props(id.ordinal) : backend.Described(description);
}

py::dict Summary(const Plan& plan) {
  CheckRaces(plan);
  const PlanLaunches launches = CountLaunches(plan);
  py::dict d = Stats(plan.stats);
  d["device"] = plan.device.name;
  d["description"] = plan.device.description;
  d["kernels"] = launches.kernels;
  d["launches"] = launches.launches;
  d["moved"] = launches.moved;
  d["copies"] = launches.copies;
  d["transposes"] = launches.transposes;
  d["streams"] = plan.num_streams;
  d["notes"] = plan.report;
  d["text"] = Print(plan);
  return d;
}

Binding ToBinding(const py::dict& sizes) {
  Binding binding;
  for (auto [name, size] : sizes) {
    binding.emplace_back(name.cast<std::string>(), size.cast<int64_t>());
  }
  return binding;
}

}  // namespace

void BindCompiled(py::module_& m) {
  py::class_<Compiled, std::shared_ptr<Compiled>>(m, "Compiled")
      .def("run", [](Compiled& c, const py::object& args) { return Run(c, args, false); })
      .def("run_debug", [](Compiled& c, const py::object& args) { return Run(c, args, true); })
      .def(
          "run_replicas",
          [](Compiled& c, const py::list& arguments, bool debug) {
            return RunReplicas(c, arguments, debug);
          },
          py::arg("arguments"), py::arg("debug"),
          "The results of each replica, run on its own list of arguments, with the GIL released.")
      .def(
          "profile_replicas",
          [](Compiled& c, const py::list& arguments, int runs) {
            const std::vector<std::vector<Tensor>> inputs = ReplicaInputs(c, arguments);
            std::shared_ptr<Executable> first;
            std::vector<double> ns;
            {
              py::gil_scoped_release release;
              std::tie(first, ns) = c.compiled.ProfileReplicas(inputs, runs);
            }
            return CostRows(first->plan(), ns);
          },
          py::arg("arguments"), py::arg("runs"),
          "As profile, of replica 0 while all run; an exchange costs what it waits, too.")
      .def(
          "run_same",
          [](Compiled& c, const py::tuple& arguments) -> py::object {
            return RunSame(c, arguments);
          },
          "As run, but None unless the arguments are tensors of the types of the last call.")
      .def("accepts",
           [](const Compiled& c, const py::object& arguments) {
             std::vector<ValueType> types;
             for (const Tensor& t : Inputs(c, arguments)) types.push_back({t.dtype(), t.shape()});
             return c.compiled.Accepts(types);
           })
      .def(
          "text", [](const Compiled& c) { return Print(c.compiled.graph()); },
          "The graph as traced, before specialisation.")
      .def(
          "fingerprint",
          [](const Compiled& c) {
            const Fingerprint f = FingerprintOf(c.compiled.graph());
            const auto* bytes = reinterpret_cast<const char*>(f.hash.data());
            return py::make_tuple(py::bytes(bytes, f.hash.size()), f.lines);
          },
          "(hash, lines): what ranks compare of a graph before they run it.")
      .def_property_readonly(
          "captures",
          [](const Compiled& c) {
            py::list out;
            for (const Tensor& t : c.captures) {
              out.append(py::reinterpret_steal<py::object>(NewPyTensor(PyTensor::Concrete(t))));
            }
            return out;
          },
          "The concrete tensors that the function closed over: the graph's last inputs.")
      .def_property_readonly("num_nodes",
                             [](const Compiled& c) { return c.compiled.graph().num_nodes(); })
      .def_property_readonly("variables",
                             [](const Compiled& c) {
                               return std::vector<std::shared_ptr<Variable>>(
                                   c.compiled.variables().begin(), c.compiled.variables().end());
                             })
      .def(
          "plan_stats",
          [](Compiled& c, const py::dict& sizes) {
            return Stats(c.compiled.For(ToBinding(sizes))->plan().stats);
          },
          py::arg("sizes"), "Memory and traffic for these symbol sizes, planned if need be.")
      .def(
          "plan_for",
          [](const Compiled& c, const py::dict& sizes, const std::string& device,
             const std::string& description) {
            return Summary(*c.compiled.PlanFor(ToBinding(sizes), PropsOf(device, description)));
          },
          py::arg("sizes"), py::arg("device"), py::arg("description") = "",
          "What a plan for another device says of itself; `description`: see Backend::Described.")
      .def(
          "run_shuffled",
          [](const Compiled& c, const py::dict& sizes, const std::string& device,
             const std::string& description, const py::object& arguments, uint64_t seed) {
            const auto plan = c.compiled.PlanFor(ToBinding(sizes), PropsOf(device, description));
            std::vector<Tensor> state;
            for (const auto& v : c.compiled.variables()) {
              state.push_back(v->parts().any() ? v->SnapshotCopy(0) : v->Snapshot());
            }
            ShuffledResult result = RunShuffled(*plan, Inputs(c, arguments), state, seed);
            return py::make_tuple(ToList(std::move(result.outputs)),
                                  ToList(std::move(result.state)));
          },
          py::arg("sizes"), py::arg("device"), py::arg("description"), py::arg("arguments"),
          py::arg("seed"),
          "Outputs and state after one step of a plan for another device, its steps run by the CPU "
          "in an order drawn among those that the plan allows; Variables stay as they are.")
      .def("plan_text",
           [](Compiled& c, const py::dict& sizes) {
             const std::shared_ptr<Executable> e = c.compiled.For(ToBinding(sizes));
             CheckRaces(e->plan());
             return Print(e->plan());
           })
      .def("optimized_text",
           [](Compiled& c, const py::dict& sizes) {
             return Print(c.compiled.For(ToBinding(sizes))->plan().graph);
           })
      .def(
          "profile",
          [](Compiled& c, const py::dict& sizes, const py::object& arguments, int runs) {
            const std::shared_ptr<Executable> e = c.compiled.For(ToBinding(sizes));
            const std::vector<double> ns = e->Profile(Inputs(c, arguments), runs);
            return CostRows(e->plan(), ns);
          },
          "(op, implementation, detail, user line, median nanoseconds) per step that every call "
          "runs; state is restored.")
      .def("specialisations",
           [](const Compiled& c) {
             py::list rows;
             for (const Specialisation& s : c.compiled.specialisations()) {
               py::dict sizes;
               for (const auto& [name, size] : s.binding) sizes[py::str(name)] = size;
               rows.append(py::make_tuple(sizes, s.why, s.seconds, s.calls, s.plan->steps.size()));
             }
             return rows;
           })
      .def_property_readonly("num_specialised",
                             [](const Compiled& c) { return c.compiled.num_specialised(); })
      .def_readonly("calls", &Compiled::calls);
  m.def("finish_trace", &Finish, py::arg("trace"), py::arg("outputs"), py::arg("device") = "cpu",
        py::arg("memory_limit") = 0, py::arg("recompute") = false, py::arg("replicas") = py::none(),
        py::arg("own_inputs") = std::vector<int>(), py::arg("label") = "",
        "`label`: what ranks know collectives of the graph by, beside the op; all give the same.");
  m.def(
      "compile_text",
      [](const std::string& text) {
        Graph graph = Parse(text);
        if (!graph.state().empty()) {
          Fail(ErrorCode::kInvalidArgument, "compile_text: the graph reads ", graph.state().size(),
               " variable(s), which text does not hold; pass a graph without state");
        }
        return std::make_shared<Compiled>(std::move(graph),
                                          std::vector<std::shared_ptr<Variable>>(),
                                          std::vector<Tensor>(), DeviceId{}, 0);
      },
      py::arg("text"), "Compiles a graph without state from its text.");
}

}  // namespace ostria
