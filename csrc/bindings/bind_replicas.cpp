// SPDX-License-Identifier: Apache-2.0
// Groups of replicas for Python: they are made there, and run in C++ threads.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "bindings/bindings.h"
#include "dist/local.h"
#include "dist/modelled.h"
#include "dist/overlapped.h"
#include "dist/workers.h"
#include "runtime/replica_group.h"
#include "runtime/state_store.h"

namespace py = pybind11;

namespace ostria {
namespace {

// Its threads may hold what wants the interpreter's lock when they end.
void Drop(ReplicaGroup* group) {
  if (PyGILState_Check() == 0) {
    delete group;
    return;
  }
  const py::gil_scoped_release release;
  delete group;
}

std::shared_ptr<ReplicaGroup> LocalReplicas(const std::vector<std::string>& names, double timeout_s,
                                            bool reproducible) {
  std::vector<DeviceId> devices;
  for (const std::string& name : names) devices.push_back(ParseDevice(name));
  const auto timeout = std::chrono::milliseconds(static_cast<int64_t>(timeout_s * 1e3));
  const auto connect = [devices, timeout] {
    std::vector<std::string> ranks;
    std::vector<int> ordinals;
    for (DeviceId d : devices) {
      ranks.push_back(ToString(d));
      ordinals.push_back(d.ordinal);
    }
    auto group =
        FindBackend(devices[0].kind).Connect(ordinals, MakeLocalGroup(std::move(ranks)), timeout);
    if (devices[0].kind != DeviceKind::kCpu) return group;  // a stream of theirs overlaps
    for (auto& rank : group) rank = MakeOverlapped(std::move(rank));
    return group;
  };
  const ReplicaOptions options = reproducible ? kReproducible : ReplicaOptions{};
  return {new ReplicaGroup(devices, connect, options), Drop};
}

std::shared_ptr<ReplicaGroup> WorkerReplicas(std::shared_ptr<control::Client> client,
                                             const std::vector<std::string>& names, int first_rank,
                                             std::vector<std::string> hosts, double timeout_s,
                                             const std::string& transport,
                                             const std::string& interface,
                                             const std::string& record_folder, bool reproducible) {
  WorkerOptions options;
  for (const std::string& name : names) options.devices.push_back(ParseDevice(name));
  options.first_rank = first_rank;
  options.hosts = std::move(hosts);
  options.communicator.timeout = std::chrono::milliseconds(static_cast<int64_t>(timeout_s * 1e3));
  options.communicator.transport = transport;
  options.communicator.interface = interface;
  options.communicator.record_folder = record_folder;
  if (reproducible) options.replicas = kReproducible;
  return {MakeWorkerReplicas(std::move(client), std::move(options)).release(), Drop};
}

std::shared_ptr<ReplicaGroup> ModelledReplicas(const std::string& device, int size,
                                               std::shared_ptr<CallLog> log) {
  if (ParseDevice(device).kind != DeviceKind::kCpu || size < 1) {
    Fail(ErrorCode::kInvalidArgument, "modelled_replicas: ", size, " rank(s) of which the first is",
         " on ", device, "; accepted are 1 or more, and a device of the CPU");
  }
  const auto connect = [size, log = std::move(log)] {
    std::vector<std::unique_ptr<Communicator>> group;
    group.push_back(MakeModelled(size, log));
    return group;
  };
  return {new ReplicaGroup({ParseDevice(device)}, connect), Drop};
}

py::list CallRows(const CallLog& log) {
  py::list rows;
  for (const ModelledCall& c : log.Calls()) {
    rows.append(
        py::make_tuple(std::string(ToString(c.kind)), c.what, c.bytes, c.slot, c.begin, c.end));
  }
  return rows;
}

// One number of each replica of this process; those of all replicas, in order of ranks. `what` they
// are, so that a rank that is somewhere else is told where the others are.
std::vector<int64_t> AllGather(ReplicaGroup& group, const std::vector<int64_t>& numbers,
                               const std::string& what) {
  if (static_cast<int>(numbers.size()) != group.size()) {
    Fail(ErrorCode::kInvalidArgument, "all_gather: ", numbers.size(), " numbers for ", group.size(),
         " replicas; give one for each of this process");
  }
  std::vector<std::vector<int64_t>> all(numbers.size());
  group.Run([&](int i) {
    Communicator& c = *Communicator::Current();
    std::vector<int64_t>& mine = all[static_cast<size_t>(i)];
    mine.resize(static_cast<size_t>(c.size()));
    mine[static_cast<size_t>(c.rank())] = numbers[static_cast<size_t>(i)];
    c.AllGather(what, mine.data(), sizeof(int64_t));
  });
  return all[0];
}

// All copies of each variable become what replica 0 of the job has.
void BroadcastVariables(ReplicaGroup& group,
                        const std::vector<std::shared_ptr<Variable>>& variables) {
  std::vector<std::vector<Tensor>> values(static_cast<size_t>(group.size()));
  for (auto& of_replica : values) {
    for (const auto& v : variables) {  // only the first can be what is sent
      of_replica.push_back(&of_replica == &values[0] ? v->Snapshot()
                                                     : Tensor::Empty(v->dtype(), v->shape()));
    }
  }
  group.Run([&](int i) {
    for (size_t v = 0; v < variables.size(); ++v) {
      Communicator::Current()->Broadcast(StrCat("the first value of '", variables[v]->name(), "'"),
                                         values[static_cast<size_t>(i)][v].raw(),
                                         variables[v]->bytes(), 0);
    }
  });
  for (size_t v = 0; v < variables.size(); ++v) variables[v]->Assign(values[0][v]);
}

}  // namespace

void BindReplicas(py::module_& m) {
  py::class_<Parts>(m, "Parts", "How replicas share a Variable of which each holds a part.")
      .def_readonly("total", &Parts::total)
      .def("begin_of", &Parts::BeginOf, py::arg("part"), py::arg("size"),
           "The element of `size` that a part begins with; all have ceil(size / total) elements.");
  py::class_<ReplicaGroup, std::shared_ptr<ReplicaGroup>>(m, "ReplicaGroup")
      .def_property_readonly("devices",
                             [](const ReplicaGroup& group) {
                               std::vector<std::string> names;
                               for (DeviceId d : group.devices()) names.push_back(ToString(d));
                               return names;
                             })
      .def(
          "parts",
          [](const std::shared_ptr<ReplicaGroup>& group, int total, int first) {
            return Parts{total, first, group};
          },
          py::arg("total"), py::arg("first"),
          "How these and other processes' replicas, `total` in all, share what each holds a part "
          "of; `first`: the part of this process's first replica.")
      .def("all_gather", &AllGather, py::arg("numbers"),
           py::arg("what") = "a number of each replica", py::call_guard<py::gil_scoped_release>(),
           "One number of each replica of this process; returns those of all, in order of ranks. "
           "`what` names them in messages, the same on all.")
      .def("broadcast_variables", &BroadcastVariables, py::arg("variables"),
           py::call_guard<py::gil_scoped_release>(),
           "Assigns what replica 0 of the job has to these variables of every process.");
  m.def("local_replicas", &LocalReplicas, py::arg("devices"), py::arg("timeout_s"),
        py::arg("reproducible") = false,
        "One replica on each device, all in this process. `timeout_s`: how long one waits for the "
        "others in an exchange. `reproducible`: each computes on one thread, and sums are those of "
        "the canonical tree.");
  m.def("worker_replicas", &WorkerReplicas, py::arg("client"), py::arg("devices"),
        py::arg("first_rank"), py::arg("hosts"), py::arg("timeout_s"), py::arg("transport"),
        py::arg("interface"), py::arg("record_folder"), py::arg("reproducible") = false,
        "The replicas of one process of the job that `client` belongs to; `hosts` of all of them.");
  py::class_<CallLog, std::shared_ptr<CallLog>>(m, "CallLog",
                                                "What rank 0 of a modelled group called, and when.")
      .def(py::init<>())
      .def_property_readonly("reduced_bytes", &CallLog::reduced_bytes)
      .def("calls", &CallRows,
           "(kind, what, bytes of the whole, slot or -1, begin, end) of each; the times are "
           "nanoseconds of the monotonic clock, between which nothing is computed.");
  m.def("modelled_replicas", &ModelledReplicas, py::arg("device"), py::arg("size"), py::arg("log"),
        "Rank 0 of `size` ranks, of which the others are not there and taken to hold the same.");
}

}  // namespace ostria
