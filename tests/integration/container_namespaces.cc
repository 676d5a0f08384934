// SPDX-License-Identifier: Apache-2.0
// What a container shares with the host because its workload says so, and that it shares nothing else.
#include <netinet/in.h>
#include <sys/socket.h>

#include <csignal>

#include "tests/integration/container_fixture.h"
#include "tests/support/failure_of.h"

namespace tare::container {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

class SharedNamespaces : public ::testing::Test, public NativeFixture {
 protected:
  std::unique_ptr<Instance> start(const Workload& w) { return make_backend(Native::container, parts)->start(w, timeline); }
  Timeline timeline;
};

std::string host_namespace(const std::string& name) { return std::filesystem::read_symlink("/proc/self/ns/" + name).string(); }

TEST_F(SharedNamespaces, SharesWithTheHostWhatItIsToldTo) {
  constexpr Namespace kAll[] = {Namespace::pid, Namespace::ipc, Namespace::uts, Namespace::net, Namespace::cgroup, Namespace::time};
  for (const Namespace shared : kAll) {
    Workload w = workload({"list", "/proc/self/ns"});
    w.host_namespaces = {shared};
    const std::string inside = output(Native::container, w);
    for (const Namespace space : kAll) {
      const std::string of_host = host_namespace(std::string(name(space)));
      if (space == shared) {
        EXPECT_THAT(inside, HasSubstr(of_host)) << name(space);
      } else {
        EXPECT_THAT(inside, Not(HasSubstr(of_host))) << name(space) << " although only " << name(shared) << " is shared";
      }
    }
  }
}

TEST_F(SharedNamespaces, ExecEntersTheSharedAndTheOwnNamespaces) {
  Workload w = workload({"pause"});
  w.host_namespaces = {Namespace::pid, Namespace::net};
  const auto instance = start(w);
  EXPECT_EQ(instance->protections().at("namespaces"), "mount,ipc,uts,cgroup,time");
  EXPECT_EQ(instance->address(), "127.0.0.1");
  const std::string inside = instance->exec({"/bin/w", "list", "/proc/self/ns"}, Deadline::in(10s)).out;
  for (const char* name : {"pid", "net"}) EXPECT_THAT(inside, HasSubstr(host_namespace(name))) << name;
  for (const char* name : {"mnt", "ipc", "uts", "cgroup", "time"}) EXPECT_THAT(inside, Not(HasSubstr(host_namespace(name)))) << name;
  EXPECT_EQ(instance->stop(100ms), (Exit{SIGTERM, true, false}));
}

TEST_F(SharedNamespaces, ASharedNetworkSharesThePorts) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  Workload w = workload({"exit", "0"});
  w.ports = {ntohs(address.sin_port)};
  EXPECT_EQ(output(Native::container, w), "");
  w.host_namespaces = {Namespace::net};
  try {
    start(w);
    FAIL() << "a port in use was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::conflict);
    EXPECT_THAT(error.sentence(), HasSubstr("container 'test': port " + std::to_string(w.ports[0]) + " is in use"));
  }
}

TEST_F(SharedNamespaces, NoPortIsPublishedWithTheHostsNetwork) {
  Workload w = workload({"exit", "0"});
  w.network = Network::bridge;
  w.publish = {{38473, 80}};
  w.host_namespaces = {Namespace::net};
  const auto [code, words] = failure_of([&] { start(w); });
  EXPECT_EQ(code, Code::invalid);
  EXPECT_THAT(words, HasSubstr("container 'test' publishes port 38473, and shares the host's network"));
}

}  // namespace
}  // namespace tare::container
