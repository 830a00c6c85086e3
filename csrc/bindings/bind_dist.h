// SPDX-License-Identifier: Apache-2.0
// The submodule `dist`: what processes of one job say to each other.
#pragma once

#include <pybind11/pybind11.h>

namespace ostria {

void BindDist(pybind11::module_& m);

}  // namespace ostria
