// SPDX-License-Identifier: Apache-2.0
#include "core/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tare {
namespace {

Workload on(Network network, std::vector<std::string> dns = {}) {
  Workload workload;
  workload.network = network;
  workload.dns = std::move(dns);
  return workload;
}

constexpr const char* kHost = "# made by hand\nnameserver 192.0.2.53\nsearch example.org\noptions ndots:2\n";
constexpr const char* kStub = "nameserver 127.0.0.53\noptions edns0\n";

TEST(Resolver, TheBridgeGetsTheHostsNameServersAndSearchDomains) {
  const Resolver resolver = resolver_of(on(Network::bridge), false, kHost, "");
  EXPECT_EQ(resolver.text, "nameserver 192.0.2.53\nsearch example.org\noptions ndots:2\n");
  EXPECT_EQ(resolver.note, "");
}

TEST(Resolver, ALocalResolverIsReplacedByItsUpstreams) {
  const Resolver resolver = resolver_of(on(Network::bridge), false, kStub, "nameserver 198.51.100.1\nnameserver 2001:db8::1\n");
  EXPECT_EQ(resolver.text, "nameserver 198.51.100.1\noptions edns0\n");
}

TEST(Resolver, WhatIsNotReachedIsNamedAsMissing) {
  const Resolver resolver = resolver_of(on(Network::bridge), false, "nameserver 127.0.0.53\nnameserver ::1\n", "");
  EXPECT_EQ(resolver.text, "");
  EXPECT_THAT(resolver.note, testing::HasSubstr("127.0.0.53, ::1"));
  EXPECT_EQ(resolver_of(on(Network::bridge), false, "", "").note, "the host has no name server");
}

TEST(Resolver, TheWorkloadsOwnServersComeFirstOnEveryNetwork) {
  for (const Network network : {Network::none, Network::link, Network::bridge, Network::host}) {
    EXPECT_EQ(resolver_of(on(network, {"203.0.113.9"}), false, kStub, "").text, "nameserver 203.0.113.9\noptions edns0\n");
  }
}

TEST(Resolver, WhoSharesTheHostsNetworkResolvesAsTheHostDoes) {
  EXPECT_EQ(resolver_of(on(Network::host), true, kStub, "").text, kStub);
  EXPECT_EQ(resolver_of(on(Network::bridge), true, kStub, "").text, kStub) << "metal, whatever the workload asks for";
}

TEST(Resolver, LoopbackAndALinkLeadToNoNameServer) {
  EXPECT_EQ(resolver_of(on(Network::none), false, kHost, "").text, "");
  EXPECT_EQ(resolver_of(on(Network::link), false, kHost, "").text, "");
}

}  // namespace
}  // namespace tare
