// SPDX-License-Identifier: Apache-2.0
// The parts of the extension module, one file each; module.cpp calls them in this order.
#pragma once

#include <pybind11/pybind11.h>

namespace ostria {

void BindErrors(pybind11::module_& m);
void BindTensor(pybind11::module_& m);
void BindDlpack(pybind11::module_& m);
void BindVariable(pybind11::module_& m);
void BindOps(pybind11::module_& m);
void BindTrace(pybind11::module_& m);
void BindControl(pybind11::module_& m);
void BindCompiled(pybind11::module_& m);
void BindReplicas(pybind11::module_& m);
void BindDevices(pybind11::module_& m);
void BindDiagnosis(pybind11::module_& m);
void BindIo(pybind11::module_& m);
void BindData(pybind11::module_& m);

}  // namespace ostria
