// SPDX-License-Identifier: Apache-2.0
// Which library is taken, and what is said of one that does not fit. The libraries are compiled
// here.
#include "backend/cuda/libraries/library.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "backend/load_library.h"
#include "base/error.h"

namespace ostria {
namespace {

using cuda::Library;
using cuda::LibraryName;
using cuda::MakeVersion;

cuda::Version SaidVersion(const Library& library) {
  auto* say = reinterpret_cast<int (*)()>(library.FindIfThere("said_version"));
  return say == nullptr ? -1 : MakeVersion(say() / 100, say() % 100);
}

// Gone with the process: the loader would take a new file with a freed inode for the old one.
const std::filesystem::path& Folder() {
  struct Made {
    std::filesystem::path path = std::filesystem::temp_directory_path() /
                                 ("ostria_library_test." + std::to_string(getpid()));
    ~Made() { std::filesystem::remove_all(path); }
  };
  static const Made made;
  return made.path;
}

class CudaLibrary : public testing::Test {
 protected:
  CudaLibrary()
      : test(testing::UnitTest::GetInstance()->current_test_info()->name()),
        folder(Folder() / test),
        file("lib" + test + ".so.3"),
        given(cuda::Environment("OSTRIA_CUDA_LIBRARIES")) {
    std::filesystem::create_directories(folder);
    setenv("OSTRIA_CUDA_LIBRARIES", (folder / "given").c_str(), 1);
    SetWheelFolders({folder / "site-packages"});
  }
  ~CudaLibrary() override {
    setenv("OSTRIA_CUDA_LIBRARIES", given.c_str(), 1);
    SetWheelFolders({});
  }
  // Compiles `code` (C) into folder/`path`.
  std::string Make(const std::string& path, const std::string& code,
                   const std::string& flags = "") {
    const std::filesystem::path file = folder / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(folder / "code.c") << code;
    const std::string command = std::string(OSTRIA_TEST_COMPILER) + " -x c -shared -fPIC -o '" +
                                file.string() + "' '" + (folder / "code.c").string() + "' " + flags;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return file.string();
  }
  std::string MakeVersioned(const std::string& path, int version) {
    return Make(path, "int said_version(void) { return " + std::to_string(version) + "; }");
  }
  template <class Run>
  static std::string ErrorOf(Run run) {
    try {
      run();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kDeviceUnavailable);
      return e.what();
    }
    return "nothing was thrown";
  }
  static void ExpectParts(const std::string& text, const std::vector<std::string>& parts) {
    for (const std::string& part : parts) {
      EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
    }
  }

  const std::string test;
  const std::filesystem::path folder;
  const std::string file;
  const std::string given;
  const LibraryName name = {.what = "Test",
                            .file = file,
                            .package = "nvidia-test-cu13",
                            .symbol = "said_version",
                            .found = SaidVersion,
                            .least = MakeVersion(3, 7)};
};

TEST_F(CudaLibrary, ComesFromTheGivenFolderThenFromWheels) {
  const std::string wheel = MakeVersioned("site-packages/nvidia/test/lib/" + file, 308);
  EXPECT_EQ(Library(name).path(), wheel);
  const std::string first = MakeVersioned("given/" + file, 307);
  EXPECT_EQ(Library(name).path(), first);
}

TEST_F(CudaLibrary, ComesFromWheelsThatShareAFolder) {
  const std::string wheel = MakeVersioned("site-packages/nvidia/cu13/lib/" + file, 308);
  EXPECT_EQ(Library(name).path(), wheel);
}

TEST_F(CudaLibrary, ComesFromTheToolkitAfterThat) {
  const std::string home = MakeVersioned("toolkit/lib64/" + file, 308);
  const std::string before = cuda::Environment("CUDA_HOME");
  setenv("CUDA_HOME", (folder / "toolkit").c_str(), 1);
  EXPECT_EQ(Library(name).path(), home);
  setenv("CUDA_HOME", before.c_str(), 1);
}

TEST_F(CudaLibrary, SaysWhatWasTried) {
  ExpectParts(ErrorOf([&] { Library library(name); }),
              {"cuda: Test (" + file + ") was not found", "`pip install nvidia-test-cu13`",
               "Tried:", "\n  " + (folder / "given" / file).string() + ": ",
               "\n  " + (folder / "site-packages/nvidia/*/lib" / file).string() + ": ",
               "\n  " + file + ": "});
}

TEST_F(CudaLibrary, SkipsOtherVersionsAndNamesThemIfThereIsNoneThatFits) {
  const std::string old = MakeVersioned("given/" + file, 306);
  EXPECT_EQ(ErrorOf([&] { Library library(name); }),
            "cuda: " + old + " is Test 3.6.0, and this build needs 3.7.0 or later within 3.x; " +
                "install it with `pip install --upgrade nvidia-test-cu13`");
  const std::string wheel = MakeVersioned("site-packages/nvidia/test/lib/" + file, 400);
  ExpectParts(ErrorOf([&] { Library library(name); }), {old, "3.6.0"});  // 4.0 does not fit either
  LibraryName newer = name;
  newer.same_major = false;
  EXPECT_EQ(Library(newer).path(), wheel);
}

TEST_F(CudaLibrary, SaysWhichFunctionIsMissing) {
  const std::string path = MakeVersioned("given/" + file, 307);
  const Library library(name);
  EXPECT_NE(library.Find("said_version"), nullptr);
  ExpectParts(ErrorOf([&] { library.Find("testFunctionOfLater"); }),
              {path, "Test 3.7.0", "has no function testFunctionOfLater", "needs 3.7.0 or later",
               "pip install --upgrade nvidia-test-cu13"});
}

// As cuDNN: a library that opens another by name gets the one that is loaded, wherever it lies.
TEST_F(CudaLibrary, IsFoundByNameOnceItIsLoaded) {
  Make("given/" + file, "int said_version(void) { return 309; }", "-Wl,-soname," + file);
  EXPECT_EQ(dlopen(file.c_str(), RTLD_NOW), nullptr);
  const Library library(name);
  EXPECT_NE(dlopen(file.c_str(), RTLD_NOW), nullptr);
}

TEST_F(CudaLibrary, ABackendOfAnotherBuildIsRefused) {
  const std::string path = Make("libother.so",
                                "void* ostria_cuda_entry(const char* id, const char** other) {\n"
                                "  *other = \"0.0.0-0123456789abcdef\";\n"
                                "  return 0;\n"
                                "}");
  const std::vector<std::string> paths = {(folder / "missing.so").string(), path};
  ExpectParts(ErrorOf([&] { LoadBackendLibrary(paths); }),
              {path + " is of another build (0.0.0-0123456789abcdef) than libostria.so (",
               "install both from the same release"});
}

TEST_F(CudaLibrary, ALibraryThatIsNoBackendIsRefused) {
  const std::vector<std::string> paths = {Make("libother.so", "int nothing;")};
  ExpectParts(ErrorOf([&] { LoadBackendLibrary(paths); }), {"of another build (unknown)"});
}

TEST_F(CudaLibrary, AMissingBackendListsWhatWasTried) {
  const std::vector<std::string> paths = {(folder / "a.so").string(), (folder / "b.so").string()};
  ExpectParts(ErrorOf([&] { LoadBackendLibrary(paths); }),
              {"device 'cuda' needs libostria_cuda.so", "ostria-cuda of the same version",
               "\n  " + paths[0] + ": ", "\n  " + paths[1] + ": "});
}

}  // namespace
}  // namespace ostria
