// SPDX-License-Identifier: Apache-2.0
#include "image/user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>

#include "core/error.h"
#include "core/files.h"

namespace tare::image {
namespace {

using ::testing::ElementsAre;

class UserOfImage : public ::testing::Test {
 protected:
  UserOfImage() { std::filesystem::create_directories(root / "etc"); }
  void passwd(std::string_view text) const { std::ofstream(root / "etc/passwd") << text; }
  void group(std::string_view text) const { std::ofstream(root / "etc/group") << text; }
  User of(std::string_view text) const { return resolve_user({root}, text); }
  /// The code of the refusal, which has to come at once.
  Code refusal(std::string_view text) const {
    const auto from = std::chrono::steady_clock::now();
    try {
      of(text);
    } catch (const Error& error) {
      EXPECT_LT(std::chrono::steady_clock::now() - from, std::chrono::seconds(1));
      return error.code();
    }
    return Code::internal;
  }
  TempDir directory;
  std::filesystem::path root = directory.path() / "root";
};

TEST_F(UserOfImage, NoneIsRootAndNoFileIsRead) {
  std::filesystem::create_directory(root / "etc/passwd");
  EXPECT_EQ(of(""), (User{0, 0, {0}, ""}));
}

TEST_F(UserOfImage, ANameHasItsGroupItsFurtherGroupsAndItsHome) {
  passwd("root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:web:/srv/www:/bin/false\n");
  group("root:x:0:\nwww:x:33:\nlogs:x:4:other,www\nssl:x:50:www2\naudio:x:29:www\n");
  EXPECT_EQ(of("www"), (User{33, 33, {33, 4, 29}, "/srv/www"}));
  EXPECT_EQ(of("33"), of("www"));
}

TEST_F(UserOfImage, AGroupThatIsNamedIsTheOnlyOne) {
  passwd("www:x:33:33:web:/srv/www:/bin/false\n");
  group("logs:x:4:www\nssl:x:50:www\n");
  EXPECT_THAT(of("www:ssl").groups, ElementsAre(50));
  EXPECT_EQ(of("www:4294967294").gid, 4294967294U);
  EXPECT_EQ(of("1:2"), (User{1, 2, {2}, ""}));
}

TEST_F(UserOfImage, ANumberNeedsNoFile) {
  EXPECT_EQ(of("1000"), (User{1000, 0, {0}, ""}));
  EXPECT_EQ(of("4294967294").uid, 4294967294U);
  EXPECT_EQ(refusal("www"), Code::not_found);
  EXPECT_EQ(refusal("1:www"), Code::not_found);
}

// CVE-2024-40635, CVE-2026-30892: a number that wraps around becomes root.
TEST_F(UserOfImage, WhatIsNoUserIsRefused) {
  passwd("root:x:0:0:root:/root:/bin/sh\n0x0:x:0:0::/:\n");
  for (const char* text : {"4294967295", "4294967296", "18446744073709551616", "-1", "+0", "0x0", "1:2:3", " 1", "1 ", "root:", ":0", ":",
                           "1:-1", "1:4294967295", "root\n", "ro/ot"}) {
    EXPECT_EQ(refusal(text), Code::invalid) << text;
  }
}

TEST_F(UserOfImage, LinesThatOverflowAreNoUsers) {
  passwd("evil:x:4294967296:0::/:\nevil2:x:-1:0::/:\nevil3:x:1\nevil4:x:7:4294967295::/:\n\n:::::::\n");
  for (const char* name : {"evil", "evil2", "evil3", "evil4"}) EXPECT_EQ(refusal(name), Code::not_found) << name;
}

TEST_F(UserOfImage, AHomeThatIsNoPathIsNone) {
  passwd("a:x:1:1::relative:\n");
  EXPECT_EQ(of("a").home, "");
}

// CVE-2026-47262: what is not a short regular file is not read.
TEST_F(UserOfImage, FilesThatNeverEndAreRefusedAtOnce) {
  ASSERT_EQ(::mkfifo((root / "etc/passwd").c_str(), 0644), 0);
  EXPECT_EQ(refusal("www"), Code::invalid);
  EXPECT_EQ(refusal("1"), Code::invalid);
  std::filesystem::remove(root / "etc/passwd");
  passwd("www:x:33:33::/:\n");
  group("");
  std::filesystem::resize_file(root / "etc/group", std::uintmax_t{2} << 30);
  EXPECT_EQ(refusal("www"), Code::invalid);
  std::filesystem::remove(root / "etc/passwd");
  std::filesystem::create_directory(root / "etc/passwd");
  EXPECT_EQ(refusal("www"), Code::invalid);
}

TEST_F(UserOfImage, LinksLeadNowhereButIntoTheImage) {
  std::filesystem::create_symlink("/dev/zero", root / "etc/passwd");
  EXPECT_EQ(refusal("root"), Code::not_found) << "the image has no /dev/zero";
  std::filesystem::remove(root / "etc/passwd");
  std::filesystem::create_symlink("../../../../../../../../etc/passwd", root / "etc/passwd");
  EXPECT_EQ(refusal("root"), Code::invalid) << "a link to itself, as it turns out";
  std::filesystem::remove(root / "etc/passwd");
  std::ofstream(root / "users") << "www:x:33:33::/:\n";
  std::filesystem::create_symlink("/users", root / "etc/passwd");
  EXPECT_EQ(of("www").uid, 33U);
}

TEST_F(UserOfImage, TheUppermostLayerThatHasTheFileCounts) {
  passwd("www:x:33:33::/:\n");
  const auto upper = directory.path() / "upper";
  std::filesystem::create_directories(upper / "etc");
  EXPECT_EQ(resolve_user({upper, root}, "www").uid, 33U);
  std::ofstream(upper / "etc/passwd") << "www:x:99:99::/:\n";
  EXPECT_EQ(resolve_user({upper, root}, "www").uid, 99U);
}

}  // namespace
}  // namespace tare::image
