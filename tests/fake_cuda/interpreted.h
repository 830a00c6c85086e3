// SPDX-License-Identifier: Apache-2.0
// Generated loops that are not compiled but interpreted, from the program that their text begins
// with. With FAKE_CUDA_INTERPRET=1 the fake compiler makes such images, in no time: for tests of
// thousands of small programs, where compiling each would take an hour.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "loop/program.h"

namespace fake_cuda {

/// One generated kernel: everything that its text has besides the program is in its parameters.
struct InterpretedLoop {
  ostria::LoopProgram program;
  bool flat = false;  // parameter n counts elements, else rows
};
using InterpretedLoops = std::map<std::string, InterpretedLoop>;  // by the kernel's name

/// The image that stands for `source`.
std::string InterpretedImage(const std::string& source);
/// The programs of such an image; nullptr: it is none.
std::shared_ptr<const InterpretedLoops> OpenInterpreted(const void* image);
/// Computes what the kernel's first launch and the one that joins pieces would, with these
/// parameters.
void RunInterpreted(const InterpretedLoop& loop, const void* params);

}  // namespace fake_cuda
