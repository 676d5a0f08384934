// SPDX-License-Identifier: Apache-2.0
// configs/agent.yaml is read by the agent, and says the defaults where it claims to.
#include <gtest/gtest.h>

#include <filesystem>

#include "agent/config.h"
#include "core/files.h"

namespace tare::agent {
namespace {

TEST(ShippedAgentConfig, SaysTheDefaultsAndSwitchesTcpOn) {
  const Config shipped = load_config(read_file(std::filesystem::path(TARE_SOURCE_DIR) / "configs" / "agent.yaml"), "agent.yaml");
  const Config standard = load_config("", "empty");
  EXPECT_EQ(shipped.tcp_port, 9177);
  EXPECT_FALSE(standard.tcp_port);
  EXPECT_EQ(shipped.tcp_address, standard.tcp_address);
  EXPECT_EQ(shipped.event_streams, standard.event_streams);
  EXPECT_EQ(shipped.parked, standard.parked);
  EXPECT_EQ(shipped.log_level, standard.log_level);
  EXPECT_EQ(shipped.vm.connection, standard.vm.connection);
  EXPECT_EQ(shipped.vm.machine, standard.vm.machine);
  EXPECT_EQ(shipped.vm.profile, standard.vm.profile);
  EXPECT_EQ(shipped.vm.confinement, standard.vm.confinement);
  EXPECT_EQ(shipped.vm.cache, standard.vm.cache);
  EXPECT_EQ(shipped.vm.accelerator, standard.vm.accelerator);
}

TEST(ApplianceAgentConfig, IsReadFromTheWholeNetwork) {
  const std::filesystem::path file = "configs/appliance/root/etc/tare/agent.yaml";
  const Config appliance = load_config(read_file(std::filesystem::path(TARE_SOURCE_DIR) / file), "agent.yaml");
  EXPECT_EQ(appliance.tcp_port, 9177);
  EXPECT_EQ(appliance.tcp_address, "0.0.0.0");
}

}  // namespace
}  // namespace tare::agent
