// SPDX-License-Identifier: Apache-2.0
// Copies of sparse files.
#include "vm/scratch_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;

TEST(CopySparse, CopiesDataAndLeavesHoles) {
  const TempDir directory;
  const fs::path from = directory.path() / "from", to = directory.path() / "to";
  const Fd fd = open_file(from, O_RDWR | O_CREAT);
  ASSERT_EQ(::ftruncate(fd.get(), 64 << 20), 0);
  ASSERT_EQ(::pwrite(fd.get(), "middle", 6, 32 << 20), 6);
  copy_sparse(from, to);
  struct stat status {};
  ASSERT_EQ(::stat(to.c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 64 << 20);
  EXPECT_LT(status.st_blocks * 512, 1 << 20);
  char text[6];
  ASSERT_EQ(::pread(open_file(to, O_RDONLY).get(), text, 6, 32 << 20), 6);
  EXPECT_EQ(std::string_view(text, 6), "middle");
}

// Between file systems of two kinds the kernel copies nothing itself.
TEST(CopySparse, CopiesBetweenTwoFileSystems) {
  const TempDir memory("/dev/shm");
  const TempDir disk("/var/tmp");
  std::string text(200'000, 'x');
  text[150'000] = 'y';
  write_file_atomic(memory.path() / "from", text);
  copy_sparse(memory.path() / "from", disk.path() / "to");
  EXPECT_EQ(read_file(disk.path() / "to"), text);
}

TEST(CopySparse, DoesNotOverwriteWhatIsThere) {
  const TempDir directory;
  write_file_atomic(directory.path() / "from", "x");
  write_file_atomic(directory.path() / "to", "kept");
  EXPECT_THROW(copy_sparse(directory.path() / "from", directory.path() / "to"), Error);
  EXPECT_EQ(read_file(directory.path() / "to"), "kept");
}

}  // namespace
}  // namespace tare::vm
