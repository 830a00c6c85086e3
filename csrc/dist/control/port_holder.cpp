// SPDX-License-Identifier: Apache-2.0
// Who has a TCP port: /proc/net/tcp knows the inode of a listening socket, and the file descriptors
// of some process point to it.
#include <dirent.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "base/str_cat.h"
#include "dist/control/socket.h"

namespace ostria::control {
namespace {

using File = std::unique_ptr<FILE, int (*)(FILE*)>;
using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

std::vector<unsigned long> InodesOf(int port) {
  std::vector<unsigned long> inodes;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    const File file(std::fopen(table, "re"), &std::fclose);
    if (!file) continue;
    std::array<char, 512> line{};
    while (std::fgets(line.data(), line.size(), file.get()) != nullptr) {
      unsigned at = 0, state = 0;
      unsigned long inode = 0;
      const int n = std::sscanf(
          line.data(), " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu", &at,
          &state, &inode);
      constexpr unsigned kListen = 0x0A;
      if (n == 3 && static_cast<int>(at) == port && state == kListen) inodes.push_back(inode);
    }
  }
  return inodes;
}

bool Holds(const std::string& process, const std::vector<std::string>& links) {
  const std::string folder = StrCat("/proc/", process, "/fd");
  const Folder fds(opendir(folder.c_str()), &closedir);
  if (!fds) return false;
  while (const dirent* entry = readdir(fds.get())) {
    std::array<char, 64> link{};
    const ssize_t n = readlink(StrCat(folder, "/", static_cast<const char*>(entry->d_name)).c_str(),
                               link.data(), link.size() - 1);
    if (n <= 0) continue;
    for (const std::string& l : links) {
      if (l == std::string_view(link.data(), static_cast<size_t>(n))) return true;
    }
  }
  return false;
}

// Only the program and its first argument: what comes after may be long, and private.
std::string Command(const std::string& process) {
  const File file(std::fopen(StrCat("/proc/", process, "/cmdline").c_str(), "re"), &std::fclose);
  if (!file) return "";
  std::array<char, 256> text{};
  const size_t n = std::fread(text.data(), 1, text.size() - 1, file.get());
  std::string command;
  int words = 0;
  for (size_t i = 0; i < n && words < 2; ++i) {
    if (text[i] == '\0') {
      ++words;
      command += words < 2 ? " " : "";
    } else {
      command += std::isprint(static_cast<unsigned char>(text[i])) != 0 ? text[i] : '?';
    }
  }
  return command;
}

}  // namespace

std::string PortHolder(int port) {
  std::vector<std::string> links;
  for (const unsigned long inode : InodesOf(port)) links.push_back(StrCat("socket:[", inode, "]"));
  if (links.empty()) return "a process that /proc/net/tcp does not show";
  const Folder proc(opendir("/proc"), &closedir);
  while (const dirent* entry = proc ? readdir(proc.get()) : nullptr) {
    const std::string name = static_cast<const char*>(entry->d_name);
    if (std::isdigit(static_cast<unsigned char>(name[0])) == 0 || !Holds(name, links)) continue;
    return StrCat("process ", name, " (", Command(name), ")");
  }
  return "a process that this user may not look at";
}

}  // namespace ostria::control
