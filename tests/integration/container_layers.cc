// SPDX-License-Identifier: Apache-2.0
// Images of several layers: what the agent finds in them before the start is what the kernel shows after it, and a guest's disk has the
// same.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <fstream>

#include "container/overlay.h"
#include "core/process.h"
#include "image/layers.h"
#include "tests/integration/container_fixture.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class ManyLayers : public ::testing::Test, public NativeFixture {
 protected:
  /// A layer below those that are there; the program lies in the lowest one of the fixture's.
  fs::path add(const std::string& name) {
    const fs::path layer = directory.path() / "layers" / name;
    fs::create_directories(layer);
    layers.push_back(layer);
    return layer;
  }
  void put(const fs::path& path, const std::string& content) const {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << content;
  }
  void whiteout(const fs::path& path) const {
    fs::create_directories(path.parent_path());
    ASSERT_EQ(::mknod(path.c_str(), S_IFCHR, makedev(0, 0)), 0);
  }
  void opaque(const fs::path& path) const {
    fs::create_directories(path);
    ASSERT_EQ(::setxattr(path.c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  }
  Workload layered(std::vector<std::string> arguments, Userns userns = Userns::host) const {
    Workload w = workload(std::move(arguments));
    w.image = "dir:";
    for (const fs::path& layer : layers) w.image += layer.string() + ":";
    w.image += rootfs.string();
    w.userns = userns;
    return w;
  }
  /// Three layers with everything that one can do to another.
  void make_three() {
    const fs::path top = add("top");
    const fs::path middle = add("middle");
    put(rootfs / "data/of-base", "base");
    put(rootfs / "data/replaced", "base");
    put(rootfs / "data/removed", "base");
    put(rootfs / "hidden/file", "base");
    put(rootfs / "gone/file", "base");
    put(middle / "data/replaced", "middle");
    whiteout(middle / "data/removed");
    whiteout(middle / "gone");
    opaque(top / "hidden");
    put(top / "hidden/new", "top");
  }
  std::vector<fs::path> roots() const {
    std::vector<fs::path> all = layers;
    all.push_back(rootfs);
    return all;
  }
  std::vector<fs::path> layers;  // above rootfs
};

TEST_F(ManyLayers, AreOneRootFileSystem) {
  make_three();
  for (const Userns userns : {Userns::host, Userns::automatic}) {
    const auto cat = [&](const std::string& path) { return output(Native::container, layered({"cat", path}, userns)); };
    EXPECT_EQ(cat("/data/of-base"), "base\n");
    EXPECT_EQ(cat("/data/replaced"), "middle\n");
    EXPECT_EQ(cat("/data/removed"), "");
    EXPECT_EQ(cat("/gone/file"), "");
    EXPECT_EQ(cat("/hidden/file"), "");
    EXPECT_EQ(cat("/hidden/new"), "top\n");
    EXPECT_EQ(output(Native::container, layered({"owner", "/data/replaced"}, userns)), "0:0 644\n");
  }
  EXPECT_EQ(output(Native::metal, layered({"cat", "/data/replaced"})), "middle\n");
}

TEST_F(ManyLayers, WhatIsFoundBeforeTheStartIsWhatTheKernelShows) {
  make_three();
  fs::create_symlink("../data/replaced", layers[0] / "hidden/link");
  fs::create_directory_symlink("/data", layers[1] / "also");
  const image::Layers found(roots());
  const fs::path home = directory.path() / "home";
  for (const char* name : {"upper", "work", "merged"}) fs::create_directories(home / name);
  std::vector<std::string> lower;
  for (const fs::path& root : roots()) lower.push_back(root);
  for (const LayerForm form : {LayerForm::one_by_one, LayerForm::at_once}) {
    if (form == LayerForm::one_by_one && !kernel_is_at_least(6, 5)) continue;  // lowerdir+ is not there
    fs::remove_all(home / "work");
    fs::create_directory(home / "work");
    const Fd kernel = mount_overlay({lower, home, false}, "test", form);
    for (const char* path : {"data/of-base", "data/replaced", "data/removed", "gone", "gone/file", "hidden", "hidden/file", "hidden/new",
                             "hidden/link", "also/of-base", "bin/w", "none"}) {
      struct stat ours {};
      struct stat theirs {};
      const Fd fd = found.find(path);
      const bool there = ::fstatat(kernel.get(), path, &theirs, 0) == 0;
      ASSERT_EQ(bool(fd), there || std::string(path).starts_with("also/")) << path;  // an absolute link leads out of what has no root
      if (!fd || !there) continue;
      ::fstat(fd.get(), &ours);
      EXPECT_EQ(ours.st_mode, theirs.st_mode) << path;
      EXPECT_EQ(S_ISDIR(ours.st_mode) ? 0 : ours.st_size, S_ISDIR(ours.st_mode) ? 0 : theirs.st_size) << path;
    }
  }
}

TEST_F(ManyLayers, AHundredAreNotTooMany) {
  for (int i = 0; i < 99; ++i)
    put(add("layer-with-a-name-of-some-length-" + std::to_string(i)) / "data" / std::to_string(i), std::to_string(i));
  for (const Userns userns : {Userns::host, Userns::automatic}) {
    EXPECT_EQ(output(Native::container, layered({"cat", "/data/0"}, userns)), "0\n");
    EXPECT_EQ(output(Native::container, layered({"cat", "/data/98"}, userns)), "98\n");
    EXPECT_EQ(output(Native::container, layered({"create", "/data/new"}, userns)), "created\n");
  }
  const fs::path home = directory.path() / "home";
  for (const char* name : {"upper", "work", "merged"}) fs::create_directories(home / name);
  std::vector<std::string> lower;
  for (const fs::path& root : roots()) lower.push_back(root);
  const Fd old = mount_overlay({lower, home, false}, "test", LayerForm::at_once);
  struct stat status {};
  EXPECT_EQ(::fstatat(old.get(), "data/98", &status, 0), 0);
}

TEST_F(ManyLayers, AGuestsDiskHoldsTheSame) {
  if (!find_program("mkfs.erofs") || !find_program("fsck.erofs")) GTEST_SKIP() << "erofs-utils are not installed";
  make_three();
  const std::string mounts = read_file("/proc/self/mounts");
  const image::Image image = parts.images->resolve(layered({}).image);
  const fs::path disk = parts.images->make_erofs(image);
  const fs::path out = directory.path() / "extracted";
  const Output extracted = run_tool({"fsck.erofs", "--extract=" + out.string(), disk}, Deadline::in(30s));
  ASSERT_TRUE(extracted.exit.ok()) << extracted.err;
  EXPECT_EQ(read_file(out / "data/replaced"), "middle");
  EXPECT_EQ(read_file(out / "data/of-base"), "base");
  EXPECT_EQ(read_file(out / "hidden/new"), "top");
  for (const char* path : {"data/removed", "gone", "hidden/file"}) EXPECT_FALSE(fs::exists(fs::symlink_status(out / path))) << path;
  EXPECT_TRUE(fs::exists(out / "bin/w"));
  EXPECT_EQ(read_file("/proc/self/mounts"), mounts) << "it was merged out of sight";
  put(rootfs / "data/of-base", "changed");
  EXPECT_NE(parts.images->make_erofs(image), disk) << "a layer below has changed";
}

}  // namespace
}  // namespace tare::container
