// SPDX-License-Identifier: Apache-2.0
#include "image/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "core/error.h"
#include "core/process.h"
#include "image/digest.h"
#include "tests/unit/image/trees.h"

namespace tare::image {
namespace {

using testing::HasSubstr;

unsigned mode_of(const std::filesystem::path& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

template <class Act>
Error error_of(Act act) {
  try {
    act();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(Code::internal, "nothing was thrown");
}

/// Names directly in `directory`.
std::vector<std::string> names_in(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) names.push_back(entry.path().filename().string());
  return names;
}

TEST(Store, MakesTheBuiltInImageOnFirstUse) {
  const Trees trees;
  const Image image = Store(trees.paths()).resolve("tare/probe");
  EXPECT_EQ(image.reference, "tare/probe");
  EXPECT_THAT(image.digest, testing::MatchesRegex("sha256:[0-9a-f]{64}"));
  EXPECT_EQ(read_file(image.layers[0] / "bin/probe"), "not a real program");
  EXPECT_EQ(mode_of(image.layers[0] / "bin/probe"), 0755U);
  EXPECT_EQ(mode_of(image.layers[0] / "tmp"), 01777U);
  EXPECT_EQ(mode_of(image.layers[0]), 0755U);
  for (const char* name : {"proc", "sys", "dev", "run", "var/tmp"})
    EXPECT_TRUE(std::filesystem::is_directory(image.layers[0] / name)) << name;
  for (const char* name : {"etc/hosts", "etc/hostname", "etc/resolv.conf"})
    EXPECT_TRUE(std::filesystem::is_regular_file(image.layers[0] / name));
  EXPECT_THAT(read_file(image.layers[0] / "etc/passwd"), testing::StartsWith("root:x:0:0:"));
}

TEST(Store, IgnoresTheUmask) {
  const Trees trees;
  const mode_t before = ::umask(0077);
  const Image image = Store(trees.paths()).resolve("tare/probe");
  ::umask(before);
  EXPECT_EQ(mode_of(image.layers[0] / "bin"), 0755U);
  EXPECT_EQ(mode_of(image.layers[0] / "etc/passwd"), 0644U);
}

TEST(Store, NamesADirectoryWithoutAColonBecauseOverlayfsSplitsThere) {
  const Trees trees;
  EXPECT_THAT(Store(trees.paths()).resolve("tare/probe").layers[0].string(), testing::Not(HasSubstr(":")));
}

TEST(Store, GivesANewDigestToANewProgram) {
  const Trees trees;
  const Store store(trees.paths());
  const Image first = store.resolve("tare/probe");
  put(trees.paths().libexec / "probe", "another program", 0755);
  const Image second = store.resolve("tare/probe");
  EXPECT_NE(first.digest, second.digest);
  EXPECT_EQ(read_file(second.layers[0] / "bin/probe"), "another program");
  EXPECT_EQ(read_file(first.layers[0] / "bin/probe"), "not a real program") << "an instance may still run from it";
}

TEST(Store, GivesTheSameDigestInAnyStateDirectory) {
  const Trees one;
  const Trees two;
  EXPECT_EQ(Store(one.paths()).resolve("tare/probe").digest, Store(two.paths()).resolve("tare/probe").digest);
}

TEST(Store, MakesTheImageAgainWhenSomebodyRemovedIt) {
  const Trees trees;
  const Store store(trees.paths());
  remove_tree(store.resolve("tare/probe").layers[0]);
  EXPECT_TRUE(std::filesystem::exists(store.resolve("tare/probe").layers[0] / "bin/probe"));
}

TEST(Store, RemovesWhatACrashLeftUnfinished) {
  const Trees trees;
  put(trees.paths().images() / "tare-abc123" / "rootfs" / "half", "a file");
  Store(trees.paths()).resolve("tare/probe");
  EXPECT_FALSE(std::filesystem::exists(trees.paths().images() / "tare-abc123"));
}

TEST(Store, LeavesNothingUnfinishedBehind) {
  const Trees trees;
  const Image image = Store(trees.paths()).resolve("tare/probe");
  EXPECT_THAT(names_in(trees.paths().images()), testing::UnorderedElementsAre("lock", image.digest.substr(7)));
}

TEST(Store, GivesThreadsAndProcessesThatResolveAtOnceOneWholeImage) {
  const Trees trees;
  put(trees.paths().libexec / "probe", std::string(3U << 20, 'p'), 0755);
  const auto whole = [&trees] {
    const Image image = Store(trees.paths()).resolve("tare/probe");
    return std::filesystem::file_size(image.layers[0] / "bin/probe") == (3U << 20) && std::filesystem::exists(image.layers[0] / "var/tmp");
  };
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      bool good = false;
      try {
        good = whole();
      } catch (const Error&) {
        good = false;
      }
      ::_exit(good ? 0 : 1);
    }
    children.push_back(child);
  }
  std::vector<int> good(4, 0);
  {
    std::vector<std::jthread> threads;
    for (int& one : good) threads.emplace_back([&one, &whole] { one = whole() ? 1 : 0; });
  }
  EXPECT_THAT(good, testing::Each(1));
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(names_in(trees.paths().images()).size(), 2U) << "one image and the lock";
}

TEST(Store, SaysHowToBuildAMissingProgram) {
  const Trees trees;
  std::filesystem::remove(trees.paths().libexec / "probe");
  const Error error = error_of([&] { Store(trees.paths()).resolve("tare/probe"); });
  EXPECT_EQ(error.code(), Code::unavailable);
  EXPECT_THAT(error.sentence(), HasSubstr((trees.paths().libexec / "probe").string()));
  EXPECT_THAT(error.hint(), HasSubstr("./dev build"));
}

TEST(Store, NamesTheImagesThatExistWhenOneDoesNot) {
  const Trees trees;
  const Error error = error_of([&] { Store(trees.paths()).resolve("tare/prob"); });
  EXPECT_EQ(error.code(), Code::not_found);
  EXPECT_THAT(error.sentence(), HasSubstr("'tare/prob'"));
  EXPECT_THAT(error.hint(), testing::AllOf(HasSubstr("tare/probe"), HasSubstr("dir:")));
}

TEST(Store, UsesADirectoryAsItIs) {
  const Trees trees;
  put(trees.below("tree/bin/sh"), "shell", 0755);
  const Image image = Store(trees.paths()).resolve("dir:" + trees.below("tree").string());
  EXPECT_EQ(image.layers[0], trees.below("tree"));
  EXPECT_THAT(image.environment, testing::Contains(testing::StartsWith("PATH=")));
}

TEST(Store, RefusesADirectoryThatIsRelativeMissingOrAFile) {
  const Trees trees;
  put(trees.below("file"), "text");
  const Store store(trees.paths());
  EXPECT_EQ(error_of([&] { store.resolve("dir:srv/rootfs"); }).code(), Code::invalid);
  EXPECT_EQ(error_of([&] { store.resolve("dir:" + trees.below("nothing").string()); }).code(), Code::not_found);
  EXPECT_EQ(error_of([&] { store.resolve("dir:" + trees.below("file").string()); }).code(), Code::invalid);
}

TEST(TreeDigest, SeesAChangeInADirectory) {
  const Trees trees;
  const auto digest = [&] { return tree_digest(trees.below("tree")); };
  put(trees.below("tree/bin/sh"), "shell", 0755);
  const std::string first = digest();
  EXPECT_EQ(digest(), first);
  put(trees.below("tree/bin/sh"), "longer shell", 0755);
  const std::string longer = digest();
  EXPECT_NE(longer, first);
  ::chmod(trees.below("tree/bin/sh").c_str(), 0700);
  const std::string other_mode = digest();
  EXPECT_NE(other_mode, longer);
  std::filesystem::create_symlink("sh", trees.below("tree/bin/ash"));
  const std::string linked = digest();
  EXPECT_NE(linked, other_mode);
  std::filesystem::rename(trees.below("tree/bin"), trees.below("tree/sbin"));
  EXPECT_NE(digest(), linked);
}

TEST(TreeDigest, TellsAFileInADirectoryFromAFileBesideIt) {
  const Trees trees;
  std::filesystem::create_directories(trees.below("one/a"));
  std::filesystem::create_directories(trees.below("two/a"));
  std::filesystem::create_directories(trees.below("one/a/b"));
  std::filesystem::create_directories(trees.below("two/b"));
  EXPECT_NE(tree_digest(trees.below("one")), tree_digest(trees.below("two")));
}

TEST(Erofs, IsMadeOnceAndHoldsTheTree) {
  ASSERT_TRUE(find_program("mkfs.erofs")) << "apt-get install erofs-utils";
  const Trees trees;
  const Store store(trees.paths());
  const Image image = store.resolve("tare/probe");
  const std::filesystem::path file = store.erofs(image);
  const auto made = std::filesystem::last_write_time(file);
  EXPECT_EQ(store.erofs(image), file);
  EXPECT_EQ(std::filesystem::last_write_time(file), made);
  const std::string bytes = read_file(file);
  ASSERT_GT(bytes.size(), 2048U);
  EXPECT_EQ(bytes.substr(1024, 4), "\xe2\xe1\xf5\xe0") << "the superblock's magic number";
  EXPECT_THAT(bytes, HasSubstr("not a real program"));
  EXPECT_THAT(names_in(file.parent_path()), testing::UnorderedElementsAre("rootfs", "rootfs.erofs"));
}

TEST(Erofs, HasTheSameBytesForTheSameImage) {
  ASSERT_TRUE(find_program("mkfs.erofs")) << "apt-get install erofs-utils";
  const Trees one;
  const Trees two;
  const auto bytes = [](const Trees& trees) {
    const Store store(trees.paths());
    return read_file(store.erofs(store.resolve("tare/probe")));
  };
  EXPECT_TRUE(bytes(one) == bytes(two));
}

TEST(Erofs, IsMadeForADirectoryToo) {
  ASSERT_TRUE(find_program("mkfs.erofs")) << "apt-get install erofs-utils";
  const Trees trees;
  put(trees.below("tree/hello"), "hello from the tree");
  const Store store(trees.paths());
  EXPECT_THAT(read_file(store.erofs(store.resolve("dir:" + trees.below("tree").string()))), HasSubstr("hello from the tree"));
}

TEST(Erofs, OfADirectoryIsMadeAnewByMakingAndRememberedByAskingForIt) {
  ASSERT_TRUE(find_program("mkfs.erofs")) << "apt-get install erofs-utils";
  const Trees trees;
  put(trees.below("tree/hello"), "first");
  const Store store(trees.paths());
  const Image image = store.resolve("dir:" + trees.below("tree").string());
  const auto first = store.make_erofs(image);
  put(trees.below("tree/hello"), "second time");
  EXPECT_EQ(store.erofs(image), first) << "a start does not walk the tree";
  EXPECT_THAT(read_file(store.make_erofs(image)), HasSubstr("second time"));
  EXPECT_THAT(read_file(store.erofs(image)), HasSubstr("second time"));
}

}  // namespace
}  // namespace tare::image
