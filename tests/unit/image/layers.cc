// SPDX-License-Identifier: Apache-2.0
#include "image/layers.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "core/files.h"
#include "image/store.h"
#include "image/user.h"
#include "tests/support/failure_of.h"
#include "tests/unit/image/trees.h"

namespace tare::image {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LayersTest : public testing::Test {
 protected:
  LayersTest() {
    for (const char* name : {"top", "middle", "base"}) {
      roots_.push_back(trees_.below(name));
      fs::create_directories(roots_.back());
    }
  }
  /// The content of what is found, "directory", or the error's name.
  std::string at(const std::string& path) const {
    const Fd fd = Layers(roots_).find(path);
    if (!fd) return errno == ENOENT ? "ENOENT" : errno == ENOTDIR ? "ENOTDIR" : errno == ELOOP ? "ELOOP" : std::to_string(errno);
    struct stat status {};
    ::fstat(fd.get(), &status);
    if (S_ISDIR(status.st_mode)) return "directory";
    return read_file("/proc/self/fd/" + std::to_string(fd.get()));
  }
  void whiteout(const fs::path& path) const {
    fs::create_directories(path.parent_path());
    ASSERT_EQ(::mknod(path.c_str(), S_IFCHR, makedev(0, 0)), 0);
  }
  fs::path top() const { return roots_[0]; }
  fs::path middle() const { return roots_[1]; }
  fs::path base() const { return roots_[2]; }

  Trees trees_;
  std::vector<fs::path> roots_;
};

TEST_F(LayersTest, TheUppermostCountsAndDirectoriesAreMerged) {
  put(base() / "etc/a", "base", 0644);
  put(base() / "etc/b", "base", 0644);
  put(middle() / "etc/b", "middle", 0644);
  put(top() / "etc/c", "top", 0644);
  EXPECT_EQ(at("/etc/a"), "base");
  EXPECT_EQ(at("/etc/b"), "middle");
  EXPECT_EQ(at("etc/c"), "top");
  EXPECT_EQ(at("/etc"), "directory");
  EXPECT_EQ(at("/"), "directory");
  EXPECT_EQ(at("/etc/none"), "ENOENT");
  EXPECT_EQ(at("/etc/a/below"), "ENOTDIR");
}

TEST_F(LayersTest, AWhiteoutHidesWhatLiesBelowItAndNothingAboveIt) {
  put(base() / "etc/file", "base", 0644);
  put(base() / "srv/deep/file", "base", 0644);
  whiteout(middle() / "etc/file");
  whiteout(middle() / "srv");
  EXPECT_EQ(at("/etc/file"), "ENOENT");
  EXPECT_EQ(at("/srv/deep/file"), "ENOENT");
  put(top() / "etc/file", "made again", 0644);
  put(top() / "srv/other", "made again", 0644);
  EXPECT_EQ(at("/etc/file"), "made again");
  EXPECT_EQ(at("/srv/other"), "made again");
  EXPECT_EQ(at("/srv/deep/file"), "ENOENT") << "the directory was removed in between";
}

TEST_F(LayersTest, AFileAndADirectoryDoNotMix) {
  put(base() / "x/file", "base", 0644);
  put(middle() / "x", "a file", 0644);
  EXPECT_EQ(at("/x"), "a file");
  EXPECT_EQ(at("/x/file"), "ENOTDIR");
  put(top() / "x/new", "top", 0644);
  EXPECT_EQ(at("/x/new"), "top");
  EXPECT_EQ(at("/x/file"), "ENOENT") << "the file in the middle hides it";
}

TEST_F(LayersTest, LinksLeadThroughAllLayersAndNeverOut) {
  put(base() / "usr/bin/tool", "base", 0755);
  fs::create_directory_symlink("usr/bin", middle() / "bin");
  fs::create_directories(top() / "opt");
  fs::create_symlink("../bin/tool", top() / "opt/relative");
  fs::create_symlink("/bin/tool", top() / "opt/absolute");
  fs::create_symlink("../../../../bin/tool", top() / "opt/far");
  fs::create_symlink("loop", top() / "loop");
  for (const char* path : {"/bin/tool", "/opt/relative", "/opt/absolute", "/opt/far", "/../../bin/tool", "/opt/./../bin/tool"}) {
    EXPECT_EQ(at(path), "base") << path;
  }
  EXPECT_EQ(at("/loop"), "ELOOP");
  EXPECT_EQ(at("/loop/x"), "ELOOP");
  fs::create_symlink(trees_.below("outside"), top() / "out");
  put(trees_.below("outside") / "secret", "of the host", 0644);
  EXPECT_EQ(at("/out/secret"), "ENOENT");
}

TEST_F(LayersTest, AHundredLayersAreLookedThrough) {
  roots_.clear();
  for (int i = 0; i < 100; ++i) {
    roots_.push_back(trees_.below("layer" + std::to_string(i)));
    put(roots_.back() / "etc" / std::to_string(i), std::to_string(i), 0644);
    put(roots_.back() / "same", std::to_string(i), 0644);
  }
  EXPECT_EQ(at("/etc/99"), "99");
  EXPECT_EQ(at("/etc/0"), "0");
  EXPECT_EQ(at("/same"), "0");
}

TEST_F(LayersTest, CommandsAndUsersAreFoundInThem) {
  put(base() / "bin/old", "", 0755);
  put(base() / "bin/gone", "", 0755);
  put(base() / "etc/passwd", "www:x:33:34::/srv:\n", 0644);
  put(top() / "bin/new", "", 0755);
  whiteout(top() / "bin/gone");
  Image image;
  image.reference = "dir:/layers";
  image.layers = roots_;
  image.environment = {"PATH=/bin"};
  EXPECT_EQ(find_command(image, "old", {}, "/"), "/bin/old");
  EXPECT_EQ(find_command(image, "new", {}, "/"), "/bin/new");
  EXPECT_THAT(failure_of([&] { find_command(image, "gone", {}, "/"); }).second, HasSubstr("'gone' is not in image"));
  EXPECT_EQ(resolve_user(roots_, "www").uid, 33U);
  whiteout(middle() / "etc/passwd");
  EXPECT_THAT(failure_of([&] { resolve_user(roots_, "www"); }).second, HasSubstr("'www' is not in /etc/passwd"));
}

TEST_F(LayersTest, AReferenceNamesTheUppermostFirst) {
  const Store store(trees_.paths());
  EXPECT_EQ(store.resolve("dir:" + top().string() + ":" + base().string()).layers, (std::vector<fs::path>{top(), base()}));
  EXPECT_THAT(failure_of([&] { store.resolve("dir:" + top().string() + ":relative"); }).second, HasSubstr("is no absolute path"));
  EXPECT_THAT(failure_of([&] { store.resolve("dir:" + top().string() + ":/no/such"); }).second, HasSubstr("open /no/such"));
  std::string many = "dir:" + top().string();
  for (int i = 0; i < 200; ++i) many += ":" + base().string();
  EXPECT_THAT(failure_of([&] { store.resolve(many); }).second, HasSubstr("has 201 layers"));
}

}  // namespace
}  // namespace tare::image
