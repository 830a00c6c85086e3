// SPDX-License-Identifier: Apache-2.0
// The control channel for Python (`_native.dist`); ostria.distribute._control is its only user. The
// interpreter's lock is let go in every call that waits, and the channel's own thread never takes
// it: a heartbeat goes out whatever Python does. Ctrl-C ends a wait for other ranks within 100 ms.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "bindings/bind_dist.h"
#include "dist/control/client.h"
#include "dist/control/join_time.h"
#include "dist/control/server.h"

namespace py = pybind11;

namespace ostria {
namespace {

using control::Client;
using control::Listener;
using control::Secret;
using control::Server;
using control::Timers;
using Free = py::call_guard<py::gil_scoped_release>;

Timers::ms Milliseconds(double seconds, const char* what) {
  if (!(seconds >= 0 && seconds <= 2'592'000)) {
    Fail(ErrorCode::kInvalidArgument, what, " of ", seconds, " s; from 0 to 2592000 (30 days)");
  }
  return Timers::ms(std::llround(seconds * 1000));
}

double Seconds(Timers::ms time) { return static_cast<double>(time.count()) / 1000.0; }

std::chrono::nanoseconds Nanoseconds(double seconds) {
  return std::chrono::nanoseconds(std::llround(seconds * 1e9));
}

struct TimerName {
  const char* name;
  Timers::ms Timers::*timer;
};
constexpr TimerName kTimers[] = {
    {"heartbeat", &Timers::heartbeat},
    {"suspect", &Timers::suspect},
    {"dead", &Timers::dead},
    {"no_progress", &Timers::no_progress},
    {"first_step", &Timers::first_step},
    {"join", &Timers::join},
    {"report", &Timers::report},
    {"authenticate", &Timers::authenticate},
};

// Seconds by name; the environment says the others.
Timers MakeTimers(const std::map<std::string, double>& seconds) {
  Timers timers = control::TimersFromEnvironment();
  for (const auto& [name, value] : seconds) {
    const auto* row = std::find_if(std::begin(kTimers), std::end(kTimers),
                                   [&](const TimerName& t) { return t.name == name; });
    if (row == std::end(kTimers)) {
      Fail(ErrorCode::kInvalidArgument, "there is no timer '", name,
           "'; there are heartbeat, "
           "suspect, dead, no_progress, first_step, join, report and authenticate");
    }
    timers.*row->timer = Milliseconds(value, row->name);
  }
  control::Check(timers);
  return timers;
}

void RunSignalHandlers() {
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

py::tuple AsTuple(const PeerFailure& f) {
  return py::make_tuple(f.rank, f.host, f.pid, f.reason, f.operation);
}

py::list AsList(const std::vector<PeerFailure>& failures) {
  py::list list;
  for (const PeerFailure& f : failures) list.append(AsTuple(f));
  return list;
}

// Waits for the thread of what it drops, which others, with the interpreter's lock, must not wait
// for. Whoever drops the last reference need not hold that lock.
template <class T>
void Drop(T* ended) {
  if (PyGILState_Check() == 0) {
    delete ended;
    return;
  }
  const py::gil_scoped_release free;
  delete ended;
}

// A line goes into a pipe whole, or, where its reader is far behind, not at all.
control::LogLine LogTo(int fd) {
  if (fd < 0) return {};
  return [fd](const std::string& line) {
    const std::string text = StrCat(std::string_view(line).substr(0, 4000), "\n");
    if (write(fd, text.data(), text.size()) < 0) return;
  };
}

std::shared_ptr<Server> NewServer(const std::string& host, int port, const std::string& job,
                                  uint32_t generation, int world, const Secret& secret,
                                  const Timers& timers, int rank, int listen_fd, int log_fd) {
  const py::gil_scoped_release free;
  Listener listener = listen_fd >= 0 ? Listener::Adopt(listen_fd) : Listener::Open(host, port);
  return {new Server(std::move(listener),
                     control::HubOptions{job, generation, world, timers, rank, control::HostName(),
                                         getpid()},
                     secret, LogTo(log_fd)),
          Drop<Server>};
}

std::shared_ptr<Client> NewClient(const std::string& host, int port, const std::string& job,
                                  uint32_t generation, int rank, int world, const Secret& secret,
                                  const Timers& timers, const std::string& host_name) {
  const py::gil_scoped_release free;
  const auto role = rank < 0 ? control::Role::kLauncher : control::Role::kRank;
  return {new Client(control::ClientOptions{host, port, job, generation, role, rank, world,
                                            host_name, timers, RunSignalHandlers},
                     secret),
          Drop<Client>};
}

void BindServer(py::module_& m) {
  py::class_<Server, std::shared_ptr<Server>>(
      m, "ControlServer", "Serves the store of a job from a thread of its own, at one address.")
      .def(py::init(&NewServer), py::arg("host"), py::arg("port"), py::arg("job"),
           py::arg("generation"), py::arg("world"), py::arg("secret"), py::arg("timers"),
           py::arg("rank") = -1, py::arg("listen_fd") = -1, py::arg("log_fd") = -1)
      .def_property_readonly("host", &Server::host)
      .def_property_readonly("port", &Server::port)
      .def("advance", &Server::Advance, py::arg("generation"), py::arg("world"), Free())
      .def("report", &Server::Report, py::arg("rank"), py::arg("reason"), Free())
      .def("failures",
           [](Server& s) {
             std::vector<PeerFailure> failures;
             {
               const py::gil_scoped_release free;
               failures = s.Failures();
             }
             return AsList(failures);
           })
      .def("present", &Server::Present, Free())
      .def(
          "wait_until_left",
          [](Server& s, double timeout) {
            return s.WaitUntilLeft(Milliseconds(timeout, "a wait"), RunSignalHandlers);
          },
          py::arg("timeout"), Free());
}

void BindClient(py::module_& m) {
  py::class_<Client, std::shared_ptr<Client>>(m, "ControlClient",
                                              "A process' end of the control channel.")
      .def(py::init(&NewClient), py::arg("host"), py::arg("port"), py::arg("job"),
           py::arg("generation"), py::arg("rank"), py::arg("world"), py::arg("secret"),
           py::arg("timers"), py::arg("host_name") = "")
      .def(
          "join",
          [](Client& c, std::vector<std::string> addresses) {
            std::vector<control::Member> members;
            {
              const py::gil_scoped_release free;
              members = c.Join(std::move(addresses));
            }
            py::list list;
            for (const control::Member& m : members) {
              list.append(py::make_tuple(m.rank, m.host, m.pid, py::cast(m.addresses)));
            }
            return list;
          },
          py::arg("addresses"))
      .def(
          "set",
          [](Client& c, const std::string& key, const py::bytes& value) {
            const std::string bytes = value;
            const py::gil_scoped_release free;
            c.Set(key, bytes);
          },
          py::arg("key"), py::arg("value"))
      .def(
          "get",
          [](Client& c, const std::string& key, double timeout) {
            std::string value;
            {
              const py::gil_scoped_release free;
              value = c.Get(key, Milliseconds(timeout, "a wait"));
            }
            return py::bytes(value);
          },
          py::arg("key"), py::arg("timeout"))
      .def(
          "try_get",
          [](Client& c, const std::string& key) -> std::optional<py::bytes> {
            std::optional<std::string> value;
            {
              const py::gil_scoped_release free;
              value = c.TryGet(key);
            }
            if (!value) return std::nullopt;
            return py::bytes(*value);
          },
          py::arg("key"))
      .def("add", &Client::Add, py::arg("key"), py::arg("number"), Free())
      .def(
          "barrier",
          [](Client& c, const std::string& name, double timeout) {
            c.Barrier(name, Milliseconds(timeout, "a wait"));
          },
          py::arg("name"), py::arg("timeout"), Free())
      .def(
          "agree",
          [](Client& c, const std::string& name, const py::bytes& fingerprint,
             const std::vector<std::string>& lines, double timeout) {
            const std::string bytes = fingerprint;
            const py::gil_scoped_release free;
            c.Agree(name, bytes, lines, Milliseconds(timeout, "a wait"));
          },
          py::arg("name"), py::arg("fingerprint"), py::arg("lines"), py::arg("timeout"))
      .def("enter", &Client::Enter, py::arg("number"), py::arg("name"))
      .def("exit", &Client::Exit)
      .def("set_busy", &Client::SetBusy, py::arg("with_what"))
      .def("begin_step", &Client::BeginStep)
      .def("end_step", &Client::EndStep, py::arg("counts") = true, py::arg("opaque") = false)
      .def(
          "read",
          [](Client& c, double waited, double ahead) {
            c.Read(Nanoseconds(waited), Nanoseconds(ahead));
          },
          py::arg("waited"), py::arg("ahead"))
      .def(
          "skip", [](Client& c, double seconds) { c.Skip(Nanoseconds(seconds)); },
          py::arg("seconds"))
      .def("paces",
           [](Client& c) {
             std::vector<control::RankPace> paces;
             {
               const py::gil_scoped_release free;
               paces = c.Paces();
             }
             py::list list;
             for (const control::RankPace& p : paces) {
               list.append(py::make_tuple(p.rank, p.steps, p.score, control::ToString(p.section),
                                          p.input, p.compute, p.comm, p.between));
             }
             return list;
           })
      .def("post_failure", &Client::PostFailure, py::arg("reason"), py::arg("operation"),
           py::arg("consequence"), Free())
      .def("report", &Client::Report, py::arg("rank"), py::arg("reason"), Free())
      .def("failures",
           [](Client& c) {
             std::vector<PeerFailure> failures;
             {
               const py::gil_scoped_release free;
               failures = c.Failures();
             }
             return AsList(failures);
           })
      .def("failure",
           [](const Client& c) -> std::optional<py::tuple> {
             const auto failure = c.failure();
             if (!failure) return std::nullopt;
             return AsTuple(*failure);
           })
      .def(
          "wait_for_failure",
          [](const Client& c, double timeout) {
            return c.WaitForFailure(Milliseconds(timeout, "a wait"));
          },
          py::arg("timeout"), Free())
      .def(
          "raise_failure",
          [](const Client& c, const std::string& operation) {
            if (const auto failure = c.failure()) throw PeerFailedError(operation, *failure);
          },
          py::arg("operation"))
      .def("leave", &Client::Leave, Free());
}

}  // namespace

void BindDist(py::module_& m) {
  py::module_ dist = m.def_submodule("dist", "Processes of one job.");
  py::class_<Secret>(dist, "JobSecret", "256 bits that only the processes of a job know.")
      .def("hex", &Secret::Hex)
      .def("__repr__", [](const Secret&) { return "<JobSecret>"; });
  dist.def("generate_secret", &Secret::Generate);
  dist.def(
      "secret_from_hex",
      [](const std::string& digits) { return Secret::FromHex(digits, "a text"); },
      py::arg("digits"));
  dist.def("secret_from_file", &Secret::FromFile, py::arg("path"));
  dist.def("secret_from_environment",
           [] { return Secret::From([](const char* name) { return std::getenv(name); }); });
  py::class_<Timers> timers(dist, "Timers", "How long the control channel waits for what, in s.");
  timers.def(py::init(&MakeTimers), py::arg("seconds") = std::map<std::string, double>())
      .def("__str__", [](const Timers& t) { return control::ToString(t); });
  for (const TimerName& t : kTimers) {
    timers.def_property_readonly(t.name,
                                 [timer = t.timer](const Timers& x) { return Seconds(x.*timer); });
  }
  BindServer(dist);
  BindClient(dist);
  dist.def(
      "measure_join",
      [](int ranks) {
        if (ranks < 1) Fail(ErrorCode::kInvalidArgument, "measure_join: ", ranks, " rank(s)");
        return control::MeasureJoin(ranks);
      },
      py::arg("ranks"), Free(),
      "Seconds until so many threads of this process, which join as processes would, know all.");
}

}  // namespace ostria
