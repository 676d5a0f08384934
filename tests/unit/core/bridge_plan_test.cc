// SPDX-License-Identifier: Apache-2.0
#include "core/bridge_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace tare::bridge {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr ipv4::Range kRange{10U << 24 | 214U << 16, 16};
constexpr std::uint32_t kInstance = kRange.base + (7U << 8) + 9;

TEST(Ipv4, ReadsAddressesAndRangesStrictly) {
  EXPECT_EQ(ipv4::parse_range("10.214.0.0/16"), kRange);
  EXPECT_EQ(kRange.text(), "10.214.0.0/16");
  EXPECT_EQ(ipv4::text_of(kRange.last()), "10.214.255.255");
  for (const char* wrong :
       {"", "10.214.0.0", "10.214.0.0/", "10.214.0.0/33", "10.214.0.0/-1", "10.214.0.1/16", "10.214.0.0/16x", "10.214/16"})
    EXPECT_EQ(ipv4::parse_range(wrong), std::nullopt) << wrong;
  EXPECT_EQ(ipv4::parse("256.0.0.1"), std::nullopt);
  EXPECT_TRUE(ipv4::parse_range("0.0.0.0/0")->contains(kInstance));
}

TEST(BridgePlan, AMacAddressIsAsUniqueAsTheAddress) {
  EXPECT_EQ(mac_of(gateway_of(kRange)), "02:74:0a:d6:00:01");
  EXPECT_NE(mac_of(kInstance), mac_of(kInstance + 1));
  EXPECT_TRUE(is_our_mac(mac_of(kInstance)));
  EXPECT_FALSE(is_our_mac("52:54:00:12:34:56"));
}

TEST(BridgePlan, AClaimFitsAsAnAlternativeName) { EXPECT_LT(claim_of(kRange.last()).size(), 128U); }

TEST(BridgePlan, GivesEveryAddressOfASmallRangeOnceAndThenNone) {
  const ipv4::Range small{kRange.base, 29};
  std::set<std::uint32_t> given;
  const auto taken = [&](std::uint32_t address) { return given.contains(address); };
  for (int i = 0; i < 5; ++i) {
    const auto address = free_address(small, "t00000000000" + std::to_string(i), taken);
    ASSERT_TRUE(address);
    EXPECT_GT(*address, gateway_of(small));
    EXPECT_LT(*address, small.last());
    EXPECT_TRUE(given.insert(*address).second);
  }
  EXPECT_EQ(free_address(small, "t000000000006", taken), std::nullopt);
}

TEST(BridgePlan, TakesTheFirstRangeThatTheHostDoesNotUse) {
  EXPECT_EQ(choose_range(std::nullopt, {}), kRange);
  EXPECT_EQ(choose_range(std::nullopt, {*ipv4::parse_range("10.214.8.0/24")})->text(), "10.215.0.0/16");
  EXPECT_EQ(choose_range(std::nullopt, {*ipv4::parse_range("10.0.0.0/8")}), kRange) << "a wider range is no obstacle";
  EXPECT_EQ(choose_range(ipv4::parse_range("172.30.0.0/24"), {*ipv4::parse_range("172.30.0.7/32")}), std::nullopt);
}

TEST(BridgePlan, AliasesAreReadAsTheyAreWritten) {
  const BridgeAlias bridge{kRange, true};
  EXPECT_EQ(text_of(bridge), "tare:bridge;range=10.214.0.0/16;ip_forward=1");
  EXPECT_EQ(parse_bridge_alias(text_of(bridge)), bridge);
  EXPECT_EQ(parse_bridge_alias("tare:bridge;range=nonsense;ip_forward=1"), std::nullopt);
  EXPECT_EQ(parse_bridge_alias("somebody's bridge"), std::nullopt);
  const MemberAlias member{"t4f9c2a71b0e2", kInstance};
  EXPECT_EQ(text_of(member), "tare:instance=t4f9c2a71b0e2;address=10.214.7.9");
  EXPECT_EQ(parse_member_alias(text_of(member)), member);
  EXPECT_EQ(parse_member_alias("tare:instance=t1"), std::nullopt);
}

TEST(BridgePlan, RulesTouchNothingButOurTable) {
  const std::string text = rules(kRange, {});
  EXPECT_THAT(text, HasSubstr("table ip tare {"));
  EXPECT_THAT(text, Not(HasSubstr("flush ruleset")));
  EXPECT_THAT(text, HasSubstr("ip saddr 10.214.0.0/16 oifname != \"tare0\" masquerade"));
}

TEST(BridgePlan, AHostThatDidNotForwardStillDoesNotBetweenItsInterfaces) {
  const std::string text = rules(kRange, {"eth0", "evil\" accept; #"});
  EXPECT_THAT(text, HasSubstr("iifname \"eth0\" oifname != \"eth0\" drop"));
  EXPECT_THAT(text, Not(HasSubstr("evil")));
  EXPECT_THAT(rules(kRange, {}), Not(HasSubstr("eth0")));
}

TEST(BridgePlan, PublishedPortsAreReadBackFromWhatNftPrints) {
  const Published one{8080, "t4f9c2a71b0e2", kInstance, 80};
  EXPECT_EQ(publish({one}), "create element ip tare published { 8080 comment \"t4f9c2a71b0e2\" : 10.214.7.9 . 80 }\n");
  const auto found = parse_published(R"(table ip tare {
	map published {
		type inet_service : ipv4_addr . inet_service
		elements = { 8080 comment "t4f9c2a71b0e2" : 10.214.7.9 . 80,
			     8081 : 10.214.0.6 . 81 }
	}
})");
  EXPECT_THAT(found, ElementsAre(one, Published{8081, "", kRange.base + 6, 81}));
  EXPECT_THAT(parse_published("table ip tare {\n\tmap published {\n\t}\n}\n"), testing::IsEmpty());
}

}  // namespace
}  // namespace tare::bridge
