// SPDX-License-Identifier: Apache-2.0
// What an agent leaves for the next one.
#include "vm/kept.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/failure_of.h"
#include "vm/kept_output.h"

namespace tare::vm {
namespace {

using testing::HasSubstr;

class KeptTest : public testing::Test {
 protected:
  TempDir root_;
  const Paths paths_{root_.path(), root_.path() / "run", {}};
  InstanceDir directory_{paths_, "t0123456789ab"};
};

Kept full() {
  Kept kept;
  kept.run = "/run/t\xff";
  kept.token = std::string("\0\x7f\xff 0123456789ab", 16);
  kept.image = {"dir:/a:/b", "sha256:1", {"/a", "/b"}, {"sh", "-c", "echo \"\n\""}, {"PATH=/bin", "B=\xff"}, "/work"};
  kept.started_as = Start::parked;
  kept.confinement = "hardened";
  kept.first_id = 0x70010000;
  kept.plan.accelerator = Accelerator::kvm;
  kept.plan.profile = VmProfile::tuned;
  kept.plan.vcpus = 2;
  kept.plan.vcpu_pins = {"3", "5"};
  kept.plan.traits = {{"profile hugepages", "none", true, "echo 8 > …"}, {"profile pins", "2", false, ""}};
  kept.plan.host = Facts{"6.1.0", 4, 1, 2_GiB, {"sse2", "avx"}};
  kept.plan.interface = Interface{"tare0123t", "52:54:00:00:00:01"};
  kept.address = "10.213.7.2/30";
  kept.servers = {"812 99"};
  kept.marks = {{Mark::launched, Instant{5}}, {Mark::executed, Instant{4'000'000'000'000'000'001}}};
  return kept;
}

TEST_F(KeptTest, IsReadAsItWasWritten) {
  keep(full(), directory_);
  const Kept read = kept(directory_.path());
  EXPECT_EQ(read.run, full().run);
  EXPECT_EQ(read.token, full().token);
  EXPECT_EQ(read.image.layers, full().image.layers);
  EXPECT_EQ(read.image.command, full().image.command);
  EXPECT_EQ(read.image.environment, full().image.environment);
  EXPECT_EQ(read.image.working_directory, "/work");
  EXPECT_EQ(read.started_as, Start::parked);
  EXPECT_EQ(read.first_id, full().first_id);
  EXPECT_EQ(read.plan.accelerator, Accelerator::kvm);
  EXPECT_EQ(read.plan.profile, VmProfile::tuned);
  EXPECT_EQ(read.plan.vcpus, 2U);
  EXPECT_EQ(read.plan.vcpu_pins, full().plan.vcpu_pins);
  EXPECT_EQ(read.plan.traits, full().plan.traits);
  EXPECT_EQ(read.plan.host->flags, full().plan.host->flags);
  EXPECT_EQ(read.plan.host->memory, 2_GiB);
  EXPECT_EQ(read.plan.interface->mac, "52:54:00:00:00:01");
  EXPECT_EQ(read.address, full().address);
  EXPECT_EQ(read.servers, full().servers);
  EXPECT_EQ(read.marks, full().marks);
}

TEST_F(KeptTest, WhatIsMissingOrDamagedOrOfAnotherVersionIsNamed) {
  EXPECT_THAT(failure_of([&] { kept(directory_.path()); }).second, HasSubstr("vm.json is missing"));
  keep(full(), directory_);
  const std::string good = read_file(directory_.path() / "vm.json");
  for (std::size_t cut = 0; cut + 2 < good.size(); cut += 7) {
    write_file_atomic(directory_.path() / "vm.json", good.substr(0, cut));
    EXPECT_THAT(failure_of([&] { kept(directory_.path()); }).second, HasSubstr("damaged")) << cut;
  }
  write_file_atomic(directory_.path() / "vm.json", R"({"version":1})");
  EXPECT_THAT(failure_of([&] { kept(directory_.path()); }).second, HasSubstr("another version"));
}

TEST_F(KeptTest, AnExitIsReadAsItWasWritten) {
  EXPECT_FALSE(kept_exit(directory_.path()));
  keep(KeptExit{{9, true, true}, Instant{4'000'000'000'000'000'001}}, directory_);
  const auto read = kept_exit(directory_.path());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->exit, (Exit{9, true, true}));
  EXPECT_EQ(read->at, Instant{4'000'000'000'000'000'001});
  write_file_atomic(directory_.path() / "ended.json", "{\"code\":1}");
  EXPECT_THAT(failure_of([&] { kept_exit(directory_.path()); }).second, HasSubstr("damaged"));
}

TEST_F(KeptTest, OutputGoesOnWhereTheAgentBeforeDied) {
  const LogLimits limits;
  {
    KeptOutput output(directory_.path(), limits);
    output.append(Stream::out, "one\n", Instant{1}, 4);
    output.append(Stream::err, std::string(100'000, 'e') + "\n", Instant{2}, 100'005);
  }
  std::string log = read_file(directory_.path() / "log.0");
  write_file_atomic(directory_.path() / "log.0", log + "half a frame");  // killed in the middle
  Log seen;
  KeptOutput output(directory_.path(), limits, seen);
  EXPECT_EQ(output.received(), 100'005U);
  EXPECT_EQ(seen.text(Stream::out), "one\n");
  EXPECT_EQ(output.size(), log.size());
  output.append(Stream::out, "two\n", Instant{3}, 100'009);
  Log again;
  const KeptOutput next(directory_.path(), limits, again);
  EXPECT_EQ(again.text(Stream::out), "one\ntwo\n");
  EXPECT_EQ(next.received(), 100'009U);
}

TEST_F(KeptTest, OutputWithoutItsRecordIsNotGuessed) {
  Log seen;
  EXPECT_THROW(KeptOutput(directory_.path(), {}, seen), Error);
  write_file_atomic(directory_.path() / "output", "short");
  EXPECT_THAT(failure_of([&] { KeptOutput(directory_.path(), {}, seen); }).second, HasSubstr("damaged"));
}

}  // namespace
}  // namespace tare::vm
