// SPDX-License-Identifier: Apache-2.0
// What Python knows as ostria.Variable: a shared Variable of the runtime.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "runtime/state_store.h"

namespace ostria {

/// The Variable inside `object`, or nullptr. Borrowed.
const std::shared_ptr<Variable>* AsPyVariable(PyObject* object);

void BindVariable(pybind11::module_& m);

}  // namespace ostria
