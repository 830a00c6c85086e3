# SPDX-License-Identifier: Apache-2.0
# The Python that runs the build's scripts and that the extension is built for: the one given by
# -DPython_EXECUTABLE, the checkout's .venv, or python3 on the PATH. Sets OSTRIA_PYTHON to TRUE when
# its headers and pybind11 are there too.
if(NOT Python_EXECUTABLE)
  find_program(ostria_python3 NAMES python3 HINTS ${CMAKE_SOURCE_DIR}/.venv/bin NO_CACHE REQUIRED)
  execute_process(COMMAND ${ostria_python3} -c "import sys; print(sys.executable)"
                  OUTPUT_VARIABLE Python_EXECUTABLE OUTPUT_STRIP_TRAILING_WHITESPACE
                  COMMAND_ERROR_IS_FATAL ANY)
  set(Python_EXECUTABLE ${Python_EXECUTABLE} CACHE FILEPATH "Python to build the extension for")
endif()
find_package(Python 3.11 COMPONENTS Interpreter OPTIONAL_COMPONENTS Development.Module)
if(NOT Python_Interpreter_FOUND)
  message(FATAL_ERROR "${Python_EXECUTABLE} is not a Python 3.11 or later; "
                      "give another with -DPython_EXECUTABLE=<path>")
endif()

set(OSTRIA_PYTHON FALSE)
set(obstacle "")
if(NOT Python_Development.Module_FOUND)
  set(obstacle "${Python_EXECUTABLE} has no headers (Debian: python3-dev)")
else()
  execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir
                  OUTPUT_VARIABLE pybind11_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
                  ERROR_QUIET RESULT_VARIABLE missing)
  if(missing)
    set(obstacle "${Python_EXECUTABLE} has no pybind11 (pip install pybind11==3.1.0)")
  endif()
endif()
if(NOT obstacle)
  find_package(pybind11 3 CONFIG REQUIRED PATHS ${pybind11_DIR} NO_DEFAULT_PATH)
  set(OSTRIA_PYTHON TRUE)
elseif(OSTRIA_REQUIRE_PYTHON)
  message(FATAL_ERROR "The Python extension cannot be built: ${obstacle}")
else()
  message(STATUS "No Python extension: ${obstacle}")
endif()
