// SPDX-License-Identifier: Apache-2.0
#include "vm/console.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/files.h"

namespace tare::vm {
namespace {

std::string told(const std::string& printed) {
  const TempDir directory;
  std::ofstream(directory.path() / "console") << printed;
  return last_console_line(directory.path() / "console");
}

TEST(Console, APanicIsToldAsOneWithoutTheTraceBehindIt) {
  EXPECT_EQ(told("[ 1.0] before\r\n[    2.5] Kernel panic - not syncing: sysrq triggered crash\r\n[ 2.6] CPU: 0 PID: 1\r\n"),
            "; its kernel panicked: Kernel panic - not syncing: sysrq triggered crash");
}

TEST(Console, TheLastLineIsTheOneThatHoldsSomething) { EXPECT_EQ(told("first\r\nsecond \r\n\r\n"), "; its kernel's last line: second"); }

TEST(Console, NothingIsSaidToBeNothing) {
  EXPECT_EQ(told(""), "; its kernel printed nothing");
  EXPECT_EQ(last_console_line("/no/such"), "; its kernel printed nothing");
}

TEST(Console, AHostileGuestsLineIsCut) {
  EXPECT_EQ(told(std::string(5000, 'x')), "; its kernel's last line: " + std::string(200, 'x'));
  EXPECT_EQ(told("Kernel panic" + std::string(5000, 'x')), "; its kernel panicked: Kernel panic" + std::string(188, 'x'));
}

}  // namespace
}  // namespace tare::vm
