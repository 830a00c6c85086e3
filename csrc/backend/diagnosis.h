// SPDX-License-Identifier: Apache-2.0
// What a backend says of the installation that it runs in: one entry for each part.
#pragma once

#include <cstdint>
#include <string>

namespace ostria {

struct Diagnosis {
  enum class State : uint8_t {
    kWorks,
    kMissing,  // it is not there: nothing is wrong with it
    kBroken,   // it is there, and of no use
  };
  std::string title, text;  // text: what was found, or why not
  State state = State::kWorks;
  std::string path, found, needed;  // of a library: its file and its versions
};

}  // namespace ostria
