// SPDX-License-Identifier: Apache-2.0
#include "image/cpio.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>

namespace tare::image {
namespace {

/// An independent reading of the format, as the kernel's init/initramfs.c does it: 6 + 13×8 characters, name, content, padded to 4.
struct Member {
  std::string name, content;
  unsigned mode = 0, uid = 0, nlink = 0, mtime = 0, rmajor = 0, rminor = 0;
};

unsigned field(const std::string& header, std::size_t index) {
  unsigned value = 0;
  const char* begin = header.data() + 6 + 8 * index;
  EXPECT_EQ(std::from_chars(begin, begin + 8, value, 16).ptr, begin + 8);
  return value;
}

std::vector<Member> members(const std::string& archive) {
  const auto aligned = [](std::size_t n) { return (n + 3) & ~std::size_t{3}; };
  std::vector<Member> found;
  std::size_t at = 0;
  while (at + 110 <= archive.size()) {
    const std::string header = archive.substr(at, 110);
    if (!header.starts_with("070701")) {
      ADD_FAILURE() << "no member at " << at;
      return found;
    }
    Member member;
    member.mode = field(header, 1);
    member.uid = field(header, 2);
    member.nlink = field(header, 4);
    member.mtime = field(header, 5);
    member.rmajor = field(header, 9);
    member.rminor = field(header, 10);
    const std::size_t size = field(header, 6);
    const std::size_t name_size = field(header, 11);
    member.name = archive.substr(at + 110, name_size - 1);
    at = aligned(at + 110 + name_size);
    member.content = archive.substr(at, size);
    at = aligned(at + size);
    if (member.name == "TRAILER!!!") return found;
    found.push_back(member);
  }
  ADD_FAILURE() << "no trailer";
  return found;
}

const std::vector<CpioEntry> kEntries = {{CpioEntry::Kind::directory, "dev", 0755, "", 0, 0},
                                         {CpioEntry::Kind::character_device, "dev/console", 0600, "", 5, 1},
                                         {CpioEntry::Kind::file, "init", 0755, "program", 0, 0},
                                         {CpioEntry::Kind::file, "empty", 0644, "", 0, 0}};

TEST(Cpio, HoldsItsEntriesInOrder) {
  const std::vector<Member> found = members(cpio(kEntries));
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].name, "dev");
  EXPECT_EQ(found[0].mode, 0040755U);
  EXPECT_EQ(found[1].name, "dev/console");
  EXPECT_EQ(found[1].mode, 0020600U);
  EXPECT_EQ(found[1].rmajor, 5U);
  EXPECT_EQ(found[1].rminor, 1U);
  EXPECT_EQ(found[2].name, "init");
  EXPECT_EQ(found[2].mode, 0100755U);
  EXPECT_EQ(found[2].content, "program");
  EXPECT_EQ(found[3].content, "");
}

TEST(Cpio, BelongsToRootAndCarriesNoTime) {
  for (const Member& member : members(cpio(kEntries))) {
    EXPECT_EQ(member.uid, 0U) << member.name;
    EXPECT_EQ(member.mtime, 0U) << member.name;
    EXPECT_EQ(member.nlink, 1U) << member.name << ": the kernel would look for hard links";
  }
}

TEST(Cpio, HasTheSameBytesForTheSameEntries) { EXPECT_TRUE(cpio(kEntries) == cpio(kEntries)); }

TEST(Cpio, KeepsContentOfAnySizeAndBytes) {
  for (const std::size_t size : {1U, 3U, 4U, 5U, 70000U}) {
    std::string content(size, '\0');
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 31);
    const std::vector<Member> found = members(cpio({{CpioEntry::Kind::file, "a/b", 0644, content, 0, 0}}));
    ASSERT_EQ(found.size(), 1U);
    EXPECT_TRUE(found[0].content == content) << size;
  }
}

TEST(Cpio, OfNothingIsAnEmptyArchive) { EXPECT_TRUE(members(cpio({})).empty()); }

}  // namespace
}  // namespace tare::image
