// SPDX-License-Identifier: Apache-2.0
// MPI in this process. It begins once and ends once, at the end of a program that ended well, and
// neither may wait for ever: a rank that died is no reason to hang. Calls are made one at a time
// (MPI_THREAD_SERIALIZED), by whichever thread holds the lock.
#pragma once

#include <mpi.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace ostria::mpi {

/// Held around every call of MPI.
std::mutex& Calls();

/// Where MPI's launcher says that this process is, before MPI is asked.
struct Place {
  bool known = false;
  std::string rank, size;  // as in the variables; empty where only the other is known
};
Place PlaceFromEnvironment();

/// Begins MPI unless that was done, by us or by the program. `ended` says whether to stop waiting.
/// Returns what went wrong: empty if nothing did.
std::string Begin(std::chrono::milliseconds patience, const std::function<bool()>& ended);

/// A message of which MPI is not done stays with MPI, in memory of its own, until it is. The lock
/// is held.
void Keep(MPI_Request request, std::unique_ptr<char[]> memory);

/// From here on MPI is left alone by this process, which cannot tell what it still has in hand.
void Leave(const std::string& why);
/// Why; empty: MPI can be used.
std::string LeftBecause();

/// What MPI calls an error.
std::string ErrorText(int error);

}  // namespace ostria::mpi
