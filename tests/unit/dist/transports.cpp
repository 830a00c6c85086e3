// SPDX-License-Identifier: Apache-2.0
#include "dist/transports.h"

#include <thread>

#include "backend/build_id.h"
#include "base/str_cat.h"
#include "dist/gloo_library.h"
#include "dist/hierarchical.h"
#include "dist/local.h"
#include "dist/mpirun.h"
#include "dist/shm.h"
#include "dist/wire.h"

namespace ostria {
namespace {

std::vector<std::unique_ptr<Communicator>> Local(int size) {
  std::vector<std::string> names;
  for (int r = 0; r < size; ++r) names.push_back(StrCat("cpu:", r));
  return MakeLocalGroup(names);
}

// Every rank joins in a thread of its own.
std::vector<std::unique_ptr<Communicator>> Join(
    int size, const std::function<std::unique_ptr<Communicator>(int rank)>& make) {
  std::vector<std::unique_ptr<Communicator>> ranks(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] { ranks[static_cast<size_t>(r)] = make(r); });
  }
  for (std::thread& t : threads) t.join();
  return ranks;
}

std::vector<std::unique_ptr<Communicator>> Shm(int size, int64_t segment_bytes) {
  const auto values = MakeInProcessKeyValues();
  ShmOptions options;
  options.segment_bytes = segment_bytes;
  return Join(size, [&](int r) { return MakeShm(r, size, *values, options); });
}
std::vector<std::unique_ptr<Communicator>> ShmAsUsual(int size) {
  return Shm(size, ShmOptions().segment_bytes);
}
// So that all but the least goes through many rounds.
std::vector<std::unique_ptr<Communicator>> ShmTiny(int size) { return Shm(size, 4096); }

#if defined(OSTRIA_GLOO)
std::vector<std::unique_ptr<Communicator>> Gloo(int size) {
  const char* own = nullptr;
  const MakeGlooFn make = ostria_gloo_entry(kBuildId, &own);
  const auto values = MakeInProcessKeyValues();
  GlooOptions options;
  options.interface = "127.0.0.1";
  return Join(size, [&](int r) { return make(r, size, values, options); });
}

// Two ranks on each host but the last, which may have one.
std::vector<std::unique_ptr<Communicator>> Hierarchical(int size) {
  const char* own = nullptr;
  const MakeGlooFn make = ostria_gloo_entry(kBuildId, &own);
  const auto values = MakeInProcessKeyValues();
  return Join(size, [&](int r) -> std::unique_ptr<Communicator> {
    const int host = r / 2, hosts = (size + 1) / 2, n = std::min(2, size - 2 * host);
    ShmOptions inside;
    inside.key = StrCat("host-", host);
    for (int i = 0; i < n; ++i) inside.labels.push_back(StrCat("rank ", 2 * host + i));
    GlooOptions between;
    between.interface = "127.0.0.1";
    std::vector<int> ranks;
    for (int h = 0; h < hosts; ++h) {
      between.labels.push_back(StrCat("rank ", 2 * h));
      ranks.push_back(std::min(2, size - 2 * h));
    }
    std::unique_ptr<Communicator> leaders;
    auto here = MakeShm(r % 2, n, *values, inside);
    if (r % 2 == 0) leaders = make(host, hosts, values, between);
    return MakeHierarchical(
        r, ranks, std::move(here), std::move(leaders),
        [=](const std::string& why) { AbortWires(*values, GlooPrefix(between), why); });
  });
}
#endif

}  // namespace

std::vector<Transport> Transports() {
  return {
    {"local", Local}, {"shm", ShmAsUsual}, {"shm_in_small_segments", ShmTiny},
#if defined(OSTRIA_GLOO)
        {"gloo", Gloo}, {"hierarchical", Hierarchical},
#endif
#if defined(OSTRIA_MPI)
        {"mpi", OverMpirun, WhyNoMpirun},
#endif
  };
}

std::vector<std::string> RunRanks(const std::vector<std::unique_ptr<Communicator>>& ranks,
                                  const std::function<void(Communicator&)>& rank) {
  std::vector<std::string> errors(ranks.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < ranks.size(); ++r) {
    threads.emplace_back([&, r] {
      try {
        rank(*ranks[r]);
      } catch (const std::exception& e) {
        errors[r] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return errors;
}

}  // namespace ostria
