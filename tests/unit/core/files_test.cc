// SPDX-License-Identifier: Apache-2.0
#include "core/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "core/error.h"
#include "core/instance_dir.h"

namespace tare {
namespace {
namespace fs = std::filesystem;

TEST(WriteFileAtomic, ReplacesTheContentAndLeavesNothingBeside) {
  TempDir dir;
  write_file_atomic(dir.path() / "f", "old");
  write_file_atomic(dir.path() / "f", "new");
  EXPECT_EQ(read_file(dir.path() / "f"), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);
}

TEST(WriteFileAtomic, OnAFullDiskKeepsTheOldContentAndSaysExhausted) {
  // /dev/full cannot be renamed over, so the sentence is checked on the writer it uses.
  const Fd full = open_file("/dev/full", O_WRONLY);
  try {
    write_all(full.get(), "x", "result.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::exhausted);
    EXPECT_NE(error.sentence().find("result.json"), std::string::npos);
    EXPECT_NE(error.hint().find("space"), std::string::npos);
  }
}

TEST(ReadFile, NamesTheFileThatIsMissing) {
  try {
    read_file("/no/such/file");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::not_found);
    EXPECT_EQ(error.sentence(), "open /no/such/file: No such file or directory");
  }
  EXPECT_FALSE(try_read_file("/no/such/file").has_value());
}

TEST(KeyedNumber, FindsTheKeyAndNotItsPrefix) {
  const std::string text = "usage_usec 12\nuser_usec 7\nuser 3\nVmRSS:\t  99 kB\n";
  EXPECT_EQ(keyed_number(text, "user"), 3U);
  EXPECT_EQ(keyed_number(text, "user_usec"), 7U);
  EXPECT_EQ(keyed_number(text, "VmRSS"), 99U);
  EXPECT_FALSE(keyed_number(text, "system_usec").has_value());
}

TEST(TryReadNumber, TakesMaxAsAbsent) {
  TempDir dir;
  write_file_atomic(dir.path() / "limit", "max\n");
  write_file_atomic(dir.path() / "used", "4096\n");
  EXPECT_FALSE(try_read_number(dir.path() / "limit").has_value());
  EXPECT_EQ(try_read_number(dir.path() / "used"), 4096U);
}

TEST(FileLock, IsHeldByOneOnly) {
  TempDir dir;
  const auto first = FileLock::try_lock(dir.path() / "l");
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(FileLock::try_lock(dir.path() / "l").has_value());
}

TEST(InstanceDir, IsAnOrphanOnlyWhenItsOwnerIsGone) {
  TempDir dir;
  Paths paths;
  paths.state = dir.path();
  InstanceDir mine(paths, "t000000000001");
  EXPECT_TRUE(orphaned_instances(paths).empty());
  fs::create_directories(paths.instances() / "t000000000002");
  std::ofstream(paths.instances() / "t000000000002" / "owner") << "999999999 1\n";
  fs::create_directories(paths.instances() / "t000000000003");
  std::ofstream(paths.instances() / "t000000000003" / "owner") << ::getpid() << " 1\n";  // our pid, another start time
  EXPECT_EQ(orphaned_instances(paths).size(), 2U);
  EXPECT_THROW(InstanceDir(paths, "t000000000001"), Error);
  const fs::path path = mine.path();
  mine.remove();
  EXPECT_FALSE(fs::exists(path));
}

TEST(Error, MapsEachCodeToHttpAndExit) {
  EXPECT_EQ(exit_code(Code::unsuited), 3);
  EXPECT_EQ(exit_code(Code::timeout), 124);
  EXPECT_EQ(http_status(Code::exhausted), 507);
  EXPECT_EQ(code_named(name(Code::conflict)), Code::conflict);
  EXPECT_STREQ(Error(Code::failed, "it broke", "mend it").what(), "it broke: mend it");
}

TEST(RemoveTree, LeavesNothingWhereAnotherRemovesTheSame) {
  const TempDir directory;
  const fs::path tree = directory.path() / "tree";
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 100; ++i) {
      fs::create_directories(tree / std::to_string(i));
      open_file(tree / std::to_string(i) / "file", O_WRONLY | O_CREAT);
    }
    std::thread other([&] {
      for (int i = 99; i >= 0; --i) ::unlink((tree / std::to_string(i) / "file").c_str());
    });
    remove_tree(tree);
    EXPECT_FALSE(fs::exists(tree)) << round;
    other.join();
  }
}

}  // namespace
}  // namespace tare
