// SPDX-License-Identifier: Apache-2.0
// One rank as a process, for tests that kill some and for benchmarks. It reads a call from a line
// of standard input, makes it, and answers with a line: "ok SECONDS HASH" or "error TEXT".
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "dist/make_communicator.h"
#include "tests/distributed/served.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr char kUsage[] =
    "usage: dist_rank RANK HOST,HOST,... FOLDER [TRANSPORT [JOIN_MS [RECORD_FOLDER]]]\n"
    "       mpirun dist_rank --serve TRANSPORT FOLDER   for tests/unit/dist/mpirun.cpp\n"
    "  all_reduce NAME COUNT sum|max [REPEATS]   of float32, element i of rank r being r + i % 7\n"
    "  barrier NAME | timeout MS | abort TEXT | dump TEXT | quit\n";

void Say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

uint64_t HashOf(const std::vector<float>& data) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const float x : data) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    hash = (hash ^ bits) * 0x100000001b3;
  }
  return hash;
}

void Serve(RecordedCommunicator& c, const std::string& line, std::vector<float>& data) {
  std::istringstream words(line);
  std::string verb, name;
  words >> verb;
  if (verb == "all_reduce") {
    int64_t count = 0, repeats = 1;
    std::string op;
    words >> name >> count >> op;
    if (!(words >> repeats)) repeats = 1;
    if (static_cast<int64_t>(data.size()) != count) data.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i)
      data[static_cast<size_t>(i)] = static_cast<float>(c.rank() + i % 7);
    const auto begin = steady_clock::now();
    for (int64_t i = 0; i < repeats; ++i) {
      c.AllReduce(name, data.data(), count, DType::kFloat32,
                  op == "max" ? ReduceOp::kMax : ReduceOp::kSum, ReduceOrder::kAny);
    }
    const std::chrono::duration<double> took = steady_clock::now() - begin;
    Say(StrCat("ok ", took.count(), " ", HashOf(data)));
  } else if (verb == "barrier") {
    words >> name;
    c.Barrier(name);
    Say("ok 0 0");
  } else if (verb == "timeout") {
    int64_t ms = 0;
    words >> ms;
    c.set_timeout(milliseconds(ms));
    Say("ok 0 0");
  } else if (verb == "dump") {
    std::getline(words, name);
    Say(StrCat("ok 0 ", c.Dump(name) ? 1 : 0));
  } else if (verb == "abort") {
    std::getline(words, name);
    c.Abort(name);
    Say("ok 0 0");
  } else {
    Fail(ErrorCode::kInvalidArgument, "unknown call '", line, "'\n", kUsage);
  }
}

int Main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "--serve") == 0) {
    const char *rank = std::getenv("OMPI_COMM_WORLD_RANK"),
               *size = std::getenv("OMPI_COMM_WORLD_SIZE");
    if (rank == nullptr || size == nullptr) return 2;
    return served::Serve(std::atoi(rank), std::atoi(size), argv[2], argv[3]);
  }
  if (argc < 4) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  std::vector<std::string> hosts;
  std::istringstream list(argv[2]);
  for (std::string host; std::getline(list, host, ',');) hosts.push_back(host);
  CommunicatorOptions options;
  if (argc > 4) options.transport = argv[4];
  if (argc > 5) options.join_timeout = milliseconds(std::atoll(argv[5]));
  if (argc > 6) options.record_folder = argv[6];
  options.interface = "127.0.0.1";
  const auto values = MakeFolderKeyValues(argv[3]);
  try {
    const MadeCommunicator made = MakeCommunicator(std::atoi(argv[1]), hosts, values, options);
    Say(StrCat("ready ", made.choice));
    std::vector<float> data;
    std::string line;
    for (int c; (c = std::getchar()) != EOF;) {
      if (c != '\n') {
        line += static_cast<char>(c);
        continue;
      }
      if (line == "quit") return 0;
      try {
        Serve(*made.communicator, line, data);
      } catch (const Error& e) {
        Say(StrCat("error ", e.what()));
      }
      line.clear();
    }
  } catch (const Error& e) {
    Say(StrCat("error ", e.what()));
  }
  return 0;
}

}  // namespace
}  // namespace ostria

int main(int argc, char** argv) { return ostria::Main(argc, argv); }
