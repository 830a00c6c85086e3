// SPDX-License-Identifier: Apache-2.0
#include "tests/distributed/served.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "dist/make_communicator.h"

namespace ostria::served {
namespace {

void Make(Communicator& c, const Call& call, void* data) {
  const std::string what = call.what;
  switch (call.verb) {
    case Verb::kAllReduce:
      return c.AllReduce(what, data, call.count, call.dtype, call.op, call.order);
    case Verb::kReduceScatter:
      return c.ReduceScatter(what, data,
                             static_cast<char*>(data) + c.rank() * call.count * SizeOf(call.dtype),
                             call.count, call.dtype, call.op, call.order);
    case Verb::kAllGather: return c.AllGather(what, data, call.count);
    case Verb::kBroadcast: return c.Broadcast(what, data, call.count, call.root);
    case Verb::kBarrier: return c.Barrier(what);
    case Verb::kAbort: return c.Abort(what);
    case Verb::kTimeout: return c.set_timeout(std::chrono::milliseconds(call.count));
    case Verb::kMake:
    case Verb::kDrop: break;
  }
}

}  // namespace

bool WriteAll(int fd, const void* data, int64_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = send(fd, at, static_cast<size_t>(bytes), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    bytes -= n;
  }
  return true;
}

bool ReadAll(int fd, void* data, int64_t bytes) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t n = read(fd, at, static_cast<size_t>(bytes));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    bytes -= n;
  }
  return true;
}

int Serve(int rank, int size, const char* transport, const char* folder) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = StrCat(folder, "/socket");
  if (fd < 0 || path.size() >= sizeof address.sun_path) return 2;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 2;
  if (!WriteAll(fd, &rank, sizeof rank)) return 2;

  const std::vector<std::string> hosts(static_cast<size_t>(size), "a");
  const auto values = MakeFolderKeyValues(folder);
  MadeCommunicator made;
  Call call;
  std::vector<char> data;
  while (ReadAll(fd, &call, sizeof call)) {
    data.resize(static_cast<size_t>(call.bytes));
    if (!ReadAll(fd, data.data(), call.bytes)) break;
    Answer answer{call.bytes, 0};
    std::string text;
    try {
      if (call.verb == Verb::kMake) {
        CommunicatorOptions options;
        options.transport = transport;
        options.key = call.what;
        made = MakeCommunicator(rank, hosts, values, options);
      } else if (call.verb == Verb::kDrop) {
        made = {};
      } else {
        Make(*made.communicator, call, data.data());
      }
    } catch (const Error& e) {
      text = e.what();
      answer = {static_cast<int64_t>(text.size()), 1};
    }
    if (!WriteAll(fd, &answer, sizeof answer) ||
        !WriteAll(fd, answer.failed != 0 ? text.data() : data.data(), answer.bytes)) {
      break;
    }
  }
  close(fd);
  return 0;
}

}  // namespace ostria::served
