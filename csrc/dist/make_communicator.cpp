// SPDX-License-Identifier: Apache-2.0
#include "dist/make_communicator.h"

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>

#include "base/check.h"
#include "dist/gloo_library.h"
#include "dist/hierarchical.h"
#include "dist/local.h"
#include "dist/mpi_library.h"
#include "dist/shm.h"
#include "dist/wire.h"

namespace ostria {
namespace {

// Which ranks share a host.
struct Layout {
  explicit Layout(std::span<const std::string> hosts) {
    for (const std::string& host : hosts) {
      if (names.empty() || names.back() != host) {
        consecutive &= std::find(names.begin(), names.end(), host) == names.end();
        names.push_back(host);
        ranks.push_back(0);
      }
      ++ranks.back();
    }
  }
  bool one_each() const {
    return std::all_of(ranks.begin(), ranks.end(), [](int n) { return n == 1; });
  }

  std::vector<std::string> names;  // in order of ranks; one may come again if not `consecutive`
  std::vector<int> ranks;          // of each
  bool consecutive = true;
};

std::pair<std::string, std::string> Choose(const Layout& layout, int size) {
  if (size == 1) return {"local", "there is one rank"};
  if (layout.names.size() == 1)
    return {"shm", StrCat("all ", size, " ranks are on '", layout.names[0], "'")};
  if (!layout.consecutive) return {"gloo", "ranks of a host do not follow one another"};
  if (layout.one_each()) return {"gloo", StrCat("each of ", size, " hosts has one rank")};
  return {"hierarchical", StrCat(layout.names.size(), " hosts have ", size, " ranks")};
}

void CheckChoice(const std::string& transport, const Layout& layout, int size) {
  const auto refuse = [&](const auto&... why) {
    Fail(ErrorCode::kInvalidArgument, "transport '", transport, "' ", why...);
  };
  if (transport == "shm" && layout.names.size() > 1) {
    refuse("is for ranks of one host, and these are on ", layout.names.size(), ": ",
           Join(layout.names, ", "), "; give 'auto', 'gloo' or 'hierarchical'");
  }
  if (transport == "hierarchical" && !layout.consecutive) {
    refuse("needs the ranks of a host to follow one another, and they do not: ",
           Join(layout.names, ", "), "; number them host by host, or give 'gloo'");
  }
  if (transport == "local" && size > 1) {
    refuse("is for threads that make their group at once; give 'auto' or 'shm'");
  }
  if (transport != "local" && transport != "shm" && transport != "gloo" &&
      transport != "hierarchical" && transport != "mpi") {
    refuse("is not known; give 'auto', 'shm', 'gloo', 'hierarchical' or 'mpi'");
  }
}

}  // namespace

MadeCommunicator MakeCommunicator(int rank, std::span<const std::string> hosts,
                                  std::shared_ptr<KeyValues> key_values,
                                  const CommunicatorOptions& options) {
  const int size = static_cast<int>(hosts.size());
  OSTRIA_CHECK(rank >= 0 && rank < size);
  const Layout layout(hosts);
  auto [transport, why] = Choose(layout, size);
  if (options.transport != "auto") {
    CheckChoice(options.transport, layout, size);
    transport = options.transport;
    why = "it was asked for";
  }

  GroupOptions group = options;
  for (int r = static_cast<int>(group.labels.size()); r < size; ++r) {
    group.labels.push_back(StrCat("rank ", r, " (", hosts[static_cast<size_t>(r)], ")"));
  }
  const std::string& host = hosts[static_cast<size_t>(rank)];
  GlooOptions gloo{group};
  gloo.interface = options.interface.empty() ? host : options.interface;

  std::unique_ptr<Communicator> made;
  if (transport == "local") {
    made = std::move(MakeLocalGroup({host})[0]);
    made->set_timeout(options.timeout);
  } else if (transport == "shm") {
    made = MakeShm(rank, size, *key_values, {group});
  } else if (transport == "gloo") {
    made = MakeGloo(rank, size, key_values, gloo);
  } else if (transport == "mpi") {
    made = MakeMpi(rank, size, key_values, group);
  } else {
    int index = 0, first = 0;
    while (first + layout.ranks[static_cast<size_t>(index)] <= rank) {
      first += layout.ranks[static_cast<size_t>(index++)];
    }
    const int n = layout.ranks[static_cast<size_t>(index)];
    ShmOptions inside{group};
    inside.key = StrCat(options.key, "/host-", index);
    inside.labels.assign(group.labels.begin() + first, group.labels.begin() + first + n);
    gloo.key = StrCat(options.key, "/leaders");
    gloo.labels.clear();
    for (int leader = 0; const int ranks : layout.ranks) {
      gloo.labels.push_back(group.labels[static_cast<size_t>(leader)]);
      leader += ranks;
    }
    // Who waits for other hosts waits longer, so that they can say whom they wait for.
    gloo.join_timeout += options.join_timeout / 8 + std::chrono::milliseconds(50);
    std::unique_ptr<Communicator> on_host;
    try {
      on_host = n == 1 ? std::move(MakeLocalGroup({host})[0])
                       : MakeShm(rank - first, n, *key_values, inside);
    } catch (const Error& e) {
      AbortWires(*key_values, GlooPrefix(gloo), e.message());
      throw;
    }
    std::unique_ptr<Communicator> leaders;
    on_host->set_timeout(gloo.join_timeout + options.join_timeout / 8);
    try {
      if (rank == first) {
        leaders = MakeGloo(index, static_cast<int>(layout.ranks.size()), key_values, gloo);
      }
    } catch (const Error& e) {
      on_host->Abort(e.message());
      throw;
    }
    on_host->Barrier("hierarchical");  // until the leader has met the others
    made = MakeHierarchical(rank, layout.ranks, std::move(on_host), std::move(leaders),
                            [key_values, gloo](const std::string& reason) {
                              AbortWires(*key_values, GlooPrefix(gloo), reason);
                            });
    made->set_timeout(options.timeout);
  }
  std::string choice = StrCat(transport, ": ", why);
  return {std::make_unique<RecordedCommunicator>(std::move(made), host, options.record_folder),
          std::move(choice)};
}

std::vector<MadeCommunicator> MakeCommunicators(int first, int count,
                                                std::span<const std::string> hosts,
                                                std::shared_ptr<KeyValues> key_values,
                                                const CommunicatorOptions& options) {
  if (count > 1 && options.transport == "mpi") {
    Fail(ErrorCode::kInvalidArgument,
         "transport 'mpi' has one replica per process, and this one has ", count,
         "; start a process for each device, or give 'auto'");
  }
  std::vector<MadeCommunicator> made(static_cast<size_t>(count));
  std::vector<std::exception_ptr> errors(static_cast<size_t>(count));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < made.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        made[i] = MakeCommunicator(first + static_cast<int>(i), hosts, key_values, options);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::exception_ptr& error : errors) {
    if (error != nullptr) std::rethrow_exception(error);
  }
  return made;
}

}  // namespace ostria
