// SPDX-License-Identifier: Apache-2.0
#include "vm/parity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/files.h"

namespace tare::vm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Facts facts() { return {"6.1.0-56-amd64", 2, 1, 300_MiB, {"fpu", "sse2", "avx2"}}; }

std::vector<std::string> differing(const std::vector<Trait>& rows) {
  std::vector<std::string> names;
  for (const Trait& row : rows) {
    if (row.missing) names.push_back(row.name);
  }
  return names;
}

Trait row(const std::vector<Trait>& rows, const std::string& name) {
  for (const Trait& row : rows) {
    if (row.name == name) return row;
  }
  return {};
}

TEST(Parity, OfEqualsHasARowForEachAndNoDifference) {
  Facts guest = facts();
  guest.memory = 302_MiB;            // whole MiB of RAM
  guest.flags.insert("hypervisor");  // that it is a guest is no difference
  const std::vector<Trait> rows = parity(facts(), guest);
  EXPECT_EQ(rows.size(), 5U);
  EXPECT_THAT(differing(rows), ElementsAre());
  EXPECT_EQ(row(rows, "parity kernel").text, "6.1.0-56-amd64, as on the host");
}

TEST(Parity, NamesEachDifference) {
  Facts guest{"6.1.0-56-cloud-amd64", 1, 2, 299_MiB, {"fpu", "sse2", "3dnow"}};
  const std::vector<Trait> rows = parity(facts(), guest);
  EXPECT_THAT(differing(rows), ElementsAre("parity kernel", "parity cpus", "parity memory", "parity nodes", "parity flags"));
  EXPECT_EQ(row(rows, "parity kernel").text, "6.1.0-56-cloud-amd64 in the guest, 6.1.0-56-amd64 on the host");
  EXPECT_EQ(row(rows, "parity cpus").text, "1 in the guest, 2 on the host");
  EXPECT_EQ(row(rows, "parity memory").text, "299 MiB usable in the guest, 300 MiB on the host");
  EXPECT_EQ(row(rows, "parity flags").text, "the guest lacks 1 of the host's 3: avx2; it has 1 that the host lacks: 3dnow");
}

TEST(Parity, CountsManyFlagsInsteadOfNamingThemAll) {
  Facts host = facts();
  for (char c = 'a'; c <= 'z'; ++c) host.flags.insert(std::string("x") + c);
  EXPECT_EQ(row(parity(host, facts()), "parity flags").text, "the guest lacks 26 of the host's 29: xa xb xc xd xe xf xg xh …");
}

TEST(HostFacts, AreThoseOfTheWorkloadsLimits) {
  const TempDir root;
  std::filesystem::create_directories(root.path() / "proc");
  write_file_atomic(root.path() / "proc/meminfo", "MemTotal:        2048 kB\n");
  write_file_atomic(root.path() / "proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vme\nbugs\t\t:\n\nprocessor\t: 1\nflags\t\t: fpu\n");
  HostOffer offer;
  offer.cpus = {{0, 0}, {1, 1}};
  VmPlan plan;
  plan.vcpus = 2;
  Limits limits;
  Facts host = host_facts(plan, limits, offer, root.path());
  EXPECT_EQ(host.memory, Bytes{2048U << 10});
  EXPECT_EQ(host.nodes, 2U);
  EXPECT_EQ(host.cpus, 2U);
  EXPECT_THAT(host.flags, ElementsAre("fpu", "vme"));
  limits.memory = 256_MiB;
  limits.cpuset = "1";
  host = host_facts(plan, limits, offer, root.path());
  EXPECT_EQ(host.memory, 256_MiB);
  EXPECT_EQ(host.nodes, 1U);
}

}  // namespace
}  // namespace tare::vm
