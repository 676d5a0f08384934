// SPDX-License-Identifier: Apache-2.0
// The bridge tare0 against the real kernel. Each test has a host's network of its own: a network namespace with loopback and one
// further address. Instances are network namespaces with a listener in them.
#include "core/bridge.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <optional>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/link_removal.h"
#include "core/listener.h"
#include "core/netlink.h"
#include "core/nft.h"
#include "core/offloads.h"
#include "core/process.h"
#include "tests/support/failure_of.h"

namespace tare::bridge {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kForward = "/proc/sys/net/ipv4/ip_forward";
constexpr const char* kOtherAddress = "198.51.100.7";

void command(const std::string& line) { ASSERT_EQ(std::system(line.c_str()), 0) << line; }  // NOLINT(concurrency-mt-unsafe)

sockaddr_in socket_address(const std::string& address, std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET, address.c_str(), &out.sin_addr), 1);
  return out;
}

/// What the first to be reached at that address says; "" when nobody answers within a second.
std::string ask(const std::string& address, std::uint16_t port) {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{1, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const sockaddr_in to = socket_address(address, port);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return "";
  char text[64] = {};
  const ssize_t size = ::read(socket.get(), text, sizeof text);
  return {text, size > 0 ? static_cast<std::size_t>(size) : 0};
}

/// An instance without a container: its network, its place, and a thread in it that says its name to everyone who connects to port 80.
class Guest {
 public:
  Guest(const Settings& settings, const std::string& id) : inside_(Namespace::make()), member(Member::by_veth(settings, id, inside_)) {
    in([&] {
      listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const sockaddr_in any = socket_address("0.0.0.0", 80);
      ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any), 0);
      ASSERT_EQ(::listen(listener_.get(), 16), 0);
    });
    server_ = std::thread([this, id] {
      for (;;) {
        const Fd connection(::accept(listener_.get(), nullptr, nullptr));
        if (!connection) return;
        if (::write(connection.get(), id.data(), id.size()) < 0) return;
      }
    });
  }
  ~Guest() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    server_.join();
  }
  /// Runs `work` in its network.
  void in(const std::function<void()>& work) const {
    std::thread([&] {
      ASSERT_EQ(::setns(inside_.fd.get(), CLONE_NEWNET), 0);
      work();
    }).join();
  }

 private:
  Namespace inside_;
  Fd listener_;
  std::thread server_;

 public:
  Member member;
};

class BridgeTest : public testing::Test {
 protected:
  static void enter_a_host_of_our_own() {
    static bool entered = false;
    if (std::exchange(entered, true)) return;
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    netlink::set_loopback_up();
    command("ip link add eth9 type veth peer name wire && ip addr add 198.51.100.7/24 dev eth9 && ip link set eth9 up");
  }
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: makes network namespaces";
    enter_a_host_of_our_own();
    write_kernel_file(kForward, "0\n");
  }
  void TearDown() override {
    if (::geteuid() != 0) return;
    EXPECT_FALSE(standing());
    EXPECT_THAT(nft::run("list tables\n", "list tables"), Not(HasSubstr("tare")));
    EXPECT_EQ(std::system("ip link show tare0 >/dev/null 2>&1"), 256) << "the bridge is left";  // NOLINT(concurrency-mt-unsafe)
  }
  TempDir directory_;
  Settings settings_{"", directory_.path() / "lock"};
};

TEST_F(BridgeTest, IsMadeForTheFirstMemberAndGoesWithTheLast) {
  EXPECT_FALSE(standing());
  {
    Guest one(settings_, "t100000000000");
    EXPECT_EQ(standing()->range, "10.214.0.0/16");
    Guest two(settings_, "t200000000000");
    EXPECT_EQ(standing()->members, 2U);
    one.member.remove();
    one.member.remove();  // idempotent
    EXPECT_EQ(standing()->members, 1U);
  }
  EXPECT_FALSE(standing());
}

TEST_F(BridgeTest, StaysForWhoKeepsIt) {
  settings_.keep = true;
  {
    const Keeper keeper(settings_);
    prepare(settings_);
    EXPECT_EQ(standing()->members, 0U);
    { Guest one(settings_, "t100000000000"); }
    EXPECT_EQ(standing()->members, 0U);
    Guest two(settings_, "t200000000000");
    EXPECT_EQ(ask(two.member.place().address, 80), "t200000000000");
  }
  EXPECT_FALSE(standing());
}

TEST_F(BridgeTest, ItsKeepersEndLeavesItToItsMembers) {
  std::optional<Guest> member;
  {
    settings_.keep = true;
    const Keeper keeper(settings_);
    prepare(settings_);
    settings_.keep = false;  // another agent's
    member.emplace(settings_, "t100000000000");
  }
  EXPECT_EQ(standing()->members, 1U);
}

TEST_F(BridgeTest, ANameIsFreeAsSoonAsItsInterfaceIsRemoved) {
  for (int i = 0; i < 20; ++i) {
    const Namespace inside = Namespace::make();
    netlink::create_veth("tare0123456789h", "eth0", inside.fd.get());
    rtnl::remove_links({"tare0123456789h", "tare9876543210h"});  // the other one is not there
    EXPECT_EQ(::if_nametoindex("tare0123456789h"), 0U);
  }
  rtnl::await_removals();
}

TEST_F(BridgeTest, WhatCannotBeRemovedIsNamed) {
  EXPECT_THAT(failure_of([] { rtnl::remove_links({"lo"}); }).second, HasSubstr("remove interface lo"));
}

TEST_F(BridgeTest, PutsForwardingBackAsItWas) {
  for (const char* found : {"0\n", "1\n"}) {
    write_kernel_file(kForward, found);
    {
      const Guest guest(settings_, "t100000000000");
      EXPECT_EQ(read_file(kForward), "1\n");
      EXPECT_EQ(standing()->forwarded, std::string(found) == "1\n");
    }
    EXPECT_EQ(read_file(kForward), found);
  }
}

TEST_F(BridgeTest, MembersReachOneAnotherAndTheHost) {
  const Guest one(settings_, "t100000000000");
  const Guest two(settings_, "t200000000000");
  one.in([&] { EXPECT_EQ(ask(two.member.place().address, 80), "t200000000000"); });
  two.in([&] { EXPECT_EQ(ask(one.member.place().address, 80), "t100000000000"); });
  EXPECT_EQ(ask(one.member.place().address, 80), "t100000000000");
}

TEST_F(BridgeTest, APublishedPortAnswersOnEveryAddressOfTheHost) {
  Guest server(settings_, "t100000000000");
  const Guest other(settings_, "t200000000000");
  server.member.publish({{8080, 80}, {8081, 80}});
  EXPECT_EQ(ask("127.0.0.1", 8080), "t100000000000");
  EXPECT_EQ(ask("127.0.0.1", 8081), "t100000000000");
  EXPECT_EQ(ask(kOtherAddress, 8080), "t100000000000");
  other.in([&] { EXPECT_EQ(ask(kOtherAddress, 8080), "t100000000000"); });
  server.in([&] { EXPECT_EQ(ask(kOtherAddress, 8080), "t100000000000"); });  // its own port, the long way round
  EXPECT_EQ(ask("127.0.0.1", 8082), "");
  server.member.remove();
  EXPECT_EQ(ask("127.0.0.1", 8080), "");
}

TEST_F(BridgeTest, AMemberCannotReachTheHostsLoopback) {
  const Guest guest(settings_, "t100000000000");
  const Fd listener(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in here = socket_address("127.0.0.1", 5353);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
  const timeval patience{0, 200'000};
  ::setsockopt(listener.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  // As an intruder with CAP_NET_ADMIN would: without loopback addresses of its own, and with a route for them to the host.
  guest.in([&] {
    command(
        "ip route del local 127.0.0.0/8 table local; ip route del local 127.0.0.1 table local; ip addr flush dev lo; "
        "sysctl -qw net.ipv4.conf.all.route_localnet=1; ip route add 127.0.0.1 via 10.214.0.1 dev eth0");
  });
  const auto arrives = [&] {
    guest.in([&] {
      const Fd sender(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      EXPECT_EQ(::sendto(sender.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&here), sizeof here), 1);
    });
    char byte = 0;
    return ::recv(listener.get(), &byte, 1, 0) == 1;
  };
  EXPECT_FALSE(arrives());
  nft::run("flush chain ip tare guard\n", "open the guard");
  EXPECT_TRUE(arrives()) << "nothing was in the way but the guard";
}

TEST_F(BridgeTest, APortThatAnotherInstancePublishesIsRefusedByItsName) {
  Guest one(settings_, "t100000000000");
  Guest two(settings_, "t200000000000");
  one.member.publish({{8080, 80}});
  const auto [code, sentence] = failure_of([&] { two.member.publish({{8081, 80}, {8080, 80}}); });
  EXPECT_EQ(code, Code::conflict);
  EXPECT_THAT(sentence, HasSubstr("port 8080 of this host is published by instance t100000000000"));
  EXPECT_EQ(ask("127.0.0.1", 8081), "") << "all or none";
}

TEST_F(BridgeTest, APortThatAProcessHasIsRefusedByItsName) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in here = socket_address("127.0.0.1", 8080);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const auto [code, sentence] = failure_of([] { hold_ports({{8080, 80}}, "container 'web'"); });
  EXPECT_EQ(code, Code::conflict);
  EXPECT_THAT(sentence, AllOf(HasSubstr("container 'web': port 8080 is in use by"), HasSubstr("(pid " + std::to_string(::getpid()) + ")")));
}

TEST_F(BridgeTest, AHeldPortCannotBeTakenByAServer) {
  const auto held = hold_ports({{8080, 80}}, "container 'web'");
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const sockaddr_in any = socket_address("0.0.0.0", 8080);
  const bool bound = ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0;
  EXPECT_FALSE(bound && ::listen(listener.get(), 1) == 0);
}

TEST_F(BridgeTest, TwentyAtATimeGetAddressesOfTheirOwn) {
  std::vector<std::unique_ptr<Guest>> guests(20);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < guests.size(); ++i) {
    threads.emplace_back([&, i] { guests[i] = std::make_unique<Guest>(settings_, "t" + std::to_string(10 + i) + "0000000000"); });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> addresses;
  for (const auto& guest : guests) addresses.insert(guest->member.place().address);
  EXPECT_EQ(addresses.size(), guests.size());
  EXPECT_EQ(standing()->members, guests.size());
  threads.clear();
  for (auto& guest : guests) threads.emplace_back([&] { guest.reset(); });
  for (std::thread& thread : threads) thread.join();
}

TEST_F(BridgeTest, AnAddressThatIsTakenIsNotGivenAgain) {
  const Guest guest(settings_, "t100000000000");
  // The same id starts its search at the same address.
  const Namespace inside = Namespace::make();
  const std::string first = guest.member.place().interface;
  command("ip link set dev " + first + " down && ip link set dev " + first + " name renamed");  // one that is up keeps its name before 6.2
  const Member second = Member::by_veth(settings_, "t100000000000", inside);
  EXPECT_NE(second.place().address, guest.member.place().address);
  command("ip link del renamed");
}

TEST_F(BridgeTest, AnInterfaceOfThatNameThatIsNotOursIsLeftAlone) {
  command("ip link add tare0 type veth peer name other");
  const auto [code, sentence] = failure_of([&] { Member::by_veth(settings_, "t100000000000", Namespace::make()); });
  EXPECT_EQ(code, Code::conflict);
  EXPECT_THAT(sentence, HasSubstr("interface tare0 exists and is not tare's"));
  tidy(settings_);
  command("ip link show tare0 >/dev/null && ip link del tare0");
}

TEST_F(BridgeTest, TakesAnotherRangeWhereItsOwnIsInUse) {
  command("ip addr add 10.214.3.1/24 dev eth9");
  {
    const Guest guest(settings_, "t100000000000");
    EXPECT_EQ(standing()->range, "10.215.0.0/16");
  }
  settings_.range = "10.214.0.0/16";
  const auto [code, sentence] = failure_of([&] { Member::by_veth(settings_, "t100000000000", Namespace::make()); });
  EXPECT_EQ(code, Code::conflict);
  EXPECT_THAT(sentence, HasSubstr("10.214.0.0/16 is in use on this host"));
  command("ip addr del 10.214.3.1/24 dev eth9");
  settings_.range = "172.30.0.0/29";
  const Guest guest(settings_, "t100000000000");
  EXPECT_THAT(guest.member.place().address, testing::StartsWith("172.30.0."));
}

TEST_F(BridgeTest, WhatACrashHalfMadeIsMadeWhole) {
  std::optional<Guest> first;
  first.emplace(settings_, "t100000000000");
  command("ip link set tare0 down");  // as an agent that died between its steps leaves it
  nft::run("delete table ip tare\n", "crash");
  Guest second(settings_, "t200000000000");
  second.member.publish({{8080, 80}});
  EXPECT_EQ(ask("127.0.0.1", 8080), "t200000000000");
  first.reset();
  second.member.remove();
  EXPECT_EQ(read_file(kForward), "0\n") << "the first to make it found 0";
}

TEST_F(BridgeTest, SurvivesAFirewallThatFlushedEverything) {
  Guest guest(settings_, "t100000000000");
  guest.member.publish({{8080, 80}});
  nft::run("flush ruleset\n", "flush");
  Guest second(settings_, "t200000000000");
  second.member.publish({{8081, 80}});
  EXPECT_EQ(ask("127.0.0.1", 8081), "t200000000000");
  guest.member.remove();
}

TEST_F(BridgeTest, TidyRemovesWhatADeadAgentLeft) {
  {
    const Namespace inside = Namespace::make();
    Member member = Member::by_veth(settings_, "t100000000000", inside);
    member.publish({{8080, 80}});
    member.leave_behind();  // its owner is killed
  }
  // Its processes are dead and the kernel clears its network; nobody told the bridge.
  for (const Deadline deadline = Deadline::in(10s); standing() && standing()->members > 0 && !deadline.passed(); ::usleep(5000)) continue;
  ASSERT_TRUE(standing());
  {
    Guest next(settings_, "t200000000000");
    next.member.publish({{8080, 80}});  // a port that leads nowhere is free
    EXPECT_EQ(ask("127.0.0.1", 8080), "t200000000000");
    tidy(settings_);
    EXPECT_EQ(ask("127.0.0.1", 8080), "t200000000000");
    std::optional<Member> found = Member::find(settings_, "t200000000000");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->place().address, next.member.place().address);
    found->remove();  // with the port
    EXPECT_EQ(ask("127.0.0.1", 8080), "");
  }
  tidy(settings_);
  EXPECT_FALSE(standing());
}

TEST_F(BridgeTest, ATapHasTheOffloadsOfAVethButForWhatAGuestAsksFor) {
  const Guest container(settings_, "t100000000000");
  command("ip tuntap add taretapt mode tap");
  const Member vm = Member::by_tap(settings_, "t200000000000", "taretapt");
  const auto container_says = description(container.member.place());
  const auto vm_says = description(vm.place());
  EXPECT_EQ(container_says.at("mtu"), "1500");
  EXPECT_EQ(vm_says.at("mtu"), "1500");
  EXPECT_THAT(container_says.at("offloads"), HasSubstr("tx-checksum,scatter-gather,tso,gso"));
  EXPECT_EQ(offloads_of(container.member.place().interface).generic_receive, offloads_of("taretapt").generic_receive);
}

TEST_F(BridgeTest, AProgramThatIsStartedHasNoSocketOfOurs) {
  nft::run("list tables\n", "list tables");
  EXPECT_EQ(std::system("test $(ls -l /proc/self/fd | grep -c socket:) = 0"), 0);  // NOLINT(concurrency-mt-unsafe)
}

TEST_F(BridgeTest, NoIpv6AddressIsAnnounced) {
  const Guest guest(settings_, "t100000000000");
  EXPECT_THAT(read_file("/proc/net/if_inet6"), Not(HasSubstr("tare")));
  guest.in([] { EXPECT_THAT(read_file("/proc/thread-self/net/if_inet6"), Not(HasSubstr("eth0"))); });
}

}  // namespace
}  // namespace tare::bridge
