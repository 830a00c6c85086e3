// SPDX-License-Identifier: Apache-2.0
#include "dist/transports.h"

#include <thread>

#include "base/str_cat.h"
#include "dist/local.h"

namespace ostria {
namespace {

std::vector<std::unique_ptr<Communicator>> Local(int size) {
  std::vector<std::string> names;
  for (int r = 0; r < size; ++r) names.push_back(StrCat("cpu:", r));
  return MakeLocalGroup(names);
}

}  // namespace

std::vector<Transport> Transports() { return {{"local", Local}}; }

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
