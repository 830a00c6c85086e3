// SPDX-License-Identifier: Apache-2.0
// What a process with another environment does: the driver is started once per process.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

#include "base/error.h"

namespace ostria {

/// Prints what `run` throws between marks, for ErrorOfChild.
template <class Run>
void PrintError(Run run) {
  try {
    run();
    std::printf("<<<>>>\n");
  } catch (const Error& e) {
    std::printf("<<<%s>>>\n", e.what());
  }
}

/// Runs test `name`, which is disabled and calls PrintError, in a process of its own with
/// `environment` ("A=1 B='2 3'"), where nothing else may fail; what it printed.
inline std::string ErrorOfChild(const std::string& environment, const std::string& name) {
  std::array<char, 4096> path = {};
  const ssize_t n = readlink("/proc/self/exe", path.data(), path.size() - 1);
  const std::string command = "env " + environment + " '" +
                              std::string(path.data(), static_cast<size_t>(n)) +
                              "' --gtest_also_run_disabled_tests --gtest_filter=" + name + " 2>&1";
  FILE* out = popen(command.c_str(), "r");
  std::string text;
  std::array<char, 4096> part;
  for (size_t got = 0; (got = fread(part.data(), 1, part.size(), out)) > 0;) {
    text.append(part.data(), got);
  }
  EXPECT_EQ(pclose(out), 0) << text;
  const size_t begin = text.find("<<<"), end = text.rfind(">>>");
  return begin == std::string::npos || end == std::string::npos
             ? "no result: " + text
             : text.substr(begin + 3, end - begin - 3);
}

}  // namespace ostria
