// SPDX-License-Identifier: Apache-2.0
// Whose a directory is can be told at every moment of its making.
#include "core/instance_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/files.h"
#include "core/process.h"

namespace tare {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(InstanceDir, OfALivingProcessIsNoOrphan) {
  const TempDir directory;
  const Paths paths{directory.path(), directory.path() / "run", {}};
  const InstanceDir instance(paths, "t0123456789ab");
  EXPECT_THAT(orphaned_instances(paths), IsEmpty());
}

TEST(InstanceDir, OneThatWasBegunIsItsMakersUntilThatIsDead) {
  const TempDir directory;
  const Paths paths{directory.path(), directory.path() / "run", {}};
  const std::string living = ".new-" + process_identity(::getpid()).value() + "-t0123456789ab";
  const std::string dead = ".new-" + std::to_string(::getpid()) + " 1-t0123456789ac";  // an earlier process of this number
  std::filesystem::create_directories(paths.instances() / living);
  std::filesystem::create_directories(paths.instances() / dead);
  EXPECT_THAT(orphaned_instances(paths), ElementsAre(dead));
}

}  // namespace
}  // namespace tare
