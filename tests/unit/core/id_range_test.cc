// SPDX-License-Identifier: Apache-2.0
#include "core/id_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace tare {
namespace {

namespace fs = std::filesystem;

class IdRanges : public ::testing::Test {
 protected:
  fs::path instance(const std::string& name) const {
    fs::create_directories(directory.path() / name);
    return directory.path() / name;
  }
  fs::path link_of(std::uint32_t first) const { return claims / std::to_string(first); }
  std::size_t links() const {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator(claims)) count += entry.is_symlink();
    return count;
  }
  TempDir directory;
  fs::path claims = directory.path() / "claims";
};

TEST_F(IdRanges, AreAlignedApartAndNameTheirInstance) {
  const IdRange a = IdRange::claim(claims, instance("a"));
  const IdRange b = IdRange::claim(claims, instance("b"));
  for (const IdRange* range : {&a, &b}) {
    EXPECT_GE(range->first(), kFirstRange);
    EXPECT_LE(range->first(), kEndOfRanges - kIdsEach);
    EXPECT_EQ(range->first() % kIdsEach, 0U);
  }
  EXPECT_NE(a.first(), b.first());
  EXPECT_EQ(fs::read_symlink(link_of(a.first())), directory.path() / "a");
}

TEST_F(IdRanges, EndWithTheirOwnerUnlessTheyAreLeft) {
  std::uint32_t left = 0;
  {
    const IdRange gone = IdRange::claim(claims, instance("a"));
    IdRange kept = IdRange::claim(claims, instance("b"));
    left = kept.first();
    kept.leave();
  }
  EXPECT_EQ(links(), 1U);
  { const IdRange again = IdRange::adopt(claims, left); }
  EXPECT_EQ(links(), 0U);
}

TEST_F(IdRanges, OneWhoseInstanceIsGoneIsFreeAndOneWhoseInstanceIsThereIsNot) {
  std::uint32_t first = 0;
  {
    IdRange crashed = IdRange::claim(claims, instance("a"));
    first = crashed.first();
    crashed.leave();
  }
  {
    IdRange other = IdRange::claim(claims, instance("a"));  // the same name looks at the same place first
    EXPECT_NE(other.first(), first);
  }
  fs::remove_all(directory.path() / "a");
  fs::create_directories(directory.path() / "elsewhere/a");
  const IdRange taken = IdRange::claim(claims, directory.path() / "elsewhere/a");
  EXPECT_EQ(taken.first(), first);
  EXPECT_EQ(links(), 1U);
}

TEST_F(IdRanges, TidyRemovesTheVoidOnesAlone) {
  IdRange a = IdRange::claim(claims, instance("a"));
  IdRange b = IdRange::claim(claims, instance("b"));
  a.leave();
  fs::remove_all(directory.path() / "a");
  IdRange::tidy(claims);
  EXPECT_EQ(links(), 1U);
  EXPECT_TRUE(fs::is_symlink(link_of(b.first())));
  IdRange::tidy(directory.path() / "no-such-directory");
}

TEST_F(IdRanges, ManyAtOnceNeverMeetEvenOverVoidClaims) {
  for (int i = 0; i < 50; ++i) {
    IdRange left = IdRange::claim(claims, instance("x" + std::to_string(i)));
    left.leave();
    fs::remove_all(directory.path() / ("x" + std::to_string(i)));
  }
  std::mutex mutex;
  std::vector<IdRange> held;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        // Other parents, same names: all look at the same places.
        const fs::path place = directory.path() / std::to_string(t) / ("x" + std::to_string(i));
        fs::create_directories(place);
        IdRange range = IdRange::claim(claims, place);
        const std::lock_guard lock(mutex);
        held.push_back(std::move(range));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::uint32_t> firsts;
  for (const IdRange& range : held) firsts.insert(range.first());
  EXPECT_EQ(firsts.size(), 200U);
  EXPECT_EQ(links(), 200U);
}

TEST_F(IdRanges, WhenAllAreTakenItSaysSo) {
  const fs::path there = instance("a");
  fs::create_directories(claims);
  for (std::uint32_t first = kFirstRange; first < kEndOfRanges; first += kIdsEach) fs::create_symlink(there, link_of(first));
  try {
    IdRange::claim(claims, there);
    FAIL() << "there was none";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unavailable);
    EXPECT_THAT(error.sentence(), ::testing::HasSubstr("all 4094 ranges of ids"));
  }
}

}  // namespace
}  // namespace tare
