// SPDX-License-Identifier: Apache-2.0
// Shared libraries that are found at run time: nothing of NVIDIA's is linked. Searched in this
// order: the folder OSTRIA_CUDA_LIBRARIES names, the nvidia-* wheels of the running Python,
// CUDA_HOME, the system. An error lists what was tried and the loader's own words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ostria::cuda {

class Library;

/// 1000000 * major + 1000 * minor + patch.
using Version = int64_t;
constexpr Version MakeVersion(int64_t major, int64_t minor, int64_t patch = 0) {
  return 1000000 * major + 1000 * minor + patch;
}
/// "9.19.0"; "13.0" where the last part is 0 and the library has two (`parts`).
std::string VersionText(Version version, int parts = 3);

struct LibraryName {
  std::string_view what;         // "cuDNN", for messages
  std::string_view file;         // "libcudnn.so.9"
  std::string_view package;      // what to install: "nvidia-cudnn-cu13"; empty: the driver
  const char* symbol = nullptr;  // a function that it surely has
  /// Asks the library for its version; -1: it does not say.
  Version (*found)(const Library& library) = nullptr;
  Version least = 0;       // older ones lack what is needed
  bool same_major = true;  // as `least`; the driver runs programs of older toolkits too
};

/// A library as a diagnosis shows it.
struct LoadedLibrary {
  std::string what, path;
  Version version = -1;
  bool refused = false;  // by us, for its version, or by the loader
};
/// In the order in which they were found; one that was refused may be followed by another.
std::vector<LoadedLibrary> LoadedLibraries();

/// The oldest version that will do, as messages say it: "9.11.0 or later within 9.x".
std::string NeededText(const LibraryName& name);

class Library {
 public:
  /// Opens it; throws Error(kDeviceUnavailable) with everything that was tried, or with the version
  /// that was found where it is not one that this build can use.
  explicit Library(const LibraryName& name);
  /// The address of a function; throws Error(kDeviceUnavailable) that names the library's file and
  /// version.
  void* Find(const char* symbol) const;
  void* FindIfThere(const char* symbol) const;
  const std::string& path() const { return path_; }

 private:
  /// What is wrong with the version that was found; empty: nothing.
  std::string OtherVersion();

  LibraryName name_;
  std::string path_;
  Version version_ = -1;
  void* handle_ = nullptr;  // never closed: threads of the library may run
};

/// cuDNN opens the driver by its name, even where it only plans. Where there is none, opens the
/// toolkit's stub of it; returns what is wrong, or nothing.
std::string OpenDriverOrStub();

/// The value of an environment variable; empty where it is not set.
std::string Environment(const char* name);

/// The folders that are searched, in order, the system's ("") last.
std::vector<std::string> LibraryFolders(std::string_view file);

}  // namespace ostria::cuda

/// Fields of a table of functions: pointers named and typed like the functions themselves.
#define OSTRIA_TABLE_FIELD(fn) decltype(&::fn) fn = nullptr;
#define OSTRIA_TABLE_TEXT(fn) OSTRIA_TABLE_TEXT_OF(fn)
#define OSTRIA_TABLE_TEXT_OF(fn) #fn
/// Fills one field. NVIDIA's headers rename functions by macros (cuMemAlloc is cuMemAlloc_v2), so
/// the text is that of the expanded name.
#define OSTRIA_TABLE_LOAD(fn) \
  table.fn = reinterpret_cast<decltype(table.fn)>(library.Find(OSTRIA_TABLE_TEXT(fn)));
