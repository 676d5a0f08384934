// SPDX-License-Identifier: Apache-2.0
// A container and a VM, emulated where it must be, on the bridge of this host.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/nft.h"
#include "tests/integration/container_fixture.h"
#include "vm/guest_kernel.h"
#include "vm/vm_backend.h"

namespace tare {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

std::string first_answer(const std::string& address, std::uint16_t port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET, address.c_str(), &to.sin_addr), 1);
  for (const Deadline deadline = Deadline::in(10s); !deadline.passed(); ::usleep(5000)) {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    char text[16] = {};
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 && ::read(socket.get(), text, sizeof text - 1) > 0)
      return text;
  }
  return "";
}

class BridgeOfBoth : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: makes control groups and network interfaces";
    Paths paths;
    paths.state = std::filesystem::path(TARE_BINARY_DIR) / "vm-state";
    paths.run = paths.state / "run";
    paths.libexec = host_.paths.libexec;
    std::filesystem::create_directories(paths.run);
    vm::VmSettings settings;
    try {
      settings.kernel = vm::find_kernel(Paths::from_environment(), {}).vmlinuz.parent_path();
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    settings.accelerator = vm::Accelerator::tcg;  // its self-test would take longer than the test
    vm_ = vm::make_backend({paths, host_.groups, std::make_shared<image::Store>(paths), settings});
    container_ = container::make_backend(container::Native::container, host_.parts);
    ASSERT_TRUE(vm_->probe().able) << vm_->probe().reason;
  }

  Workload server(std::uint16_t published) const {
    Workload out = host_.workload({"serve", "80"});
    out.network = Network::bridge;
    out.ports = {80};
    out.publish = {{published, 80}};
    out.start_timeout = 60s;
    return out;
  }

  container::NativeFixture host_;
  std::unique_ptr<Backend> vm_;
  std::unique_ptr<Backend> container_;
  Timeline native_timeline_;
  Timeline vm_timeline_;
};

TEST_F(BridgeOfBoth, AContainerAndAVmReachOneAnotherWithTheSameMtuAndOffloads) {
  Workload in_vm = server(38475);
  in_vm.dns = {"192.0.2.53"};
  vm_->prepare(in_vm);
  const auto native = container_->start(server(38474), native_timeline_);
  const auto guest = vm_->start(in_vm, vm_timeline_);
  EXPECT_NE(native->address(), guest->address());
  const auto asks = [](Instance& from, const std::string& address) { return from.exec({"/bin/w", "ask", address}, Deadline::in(30s)).out; };
  EXPECT_EQ(asks(*native, guest->address()), "hello\n");
  EXPECT_EQ(asks(*guest, native->address()), "hello\n");
  EXPECT_EQ(first_answer("127.0.0.1", 38474), "hello\n");
  EXPECT_EQ(first_answer("127.0.0.1", 38475), "hello\n");
  EXPECT_EQ(guest->exec({"/bin/w", "cat", "/etc/resolv.conf"}, Deadline::in(30s)).out.substr(0, 22), "nameserver 192.0.2.53\n");
  const auto of_container = native->protections();
  const auto of_vm = guest->protections();
  EXPECT_EQ(of_container.at("mtu"), of_vm.at("mtu"));
  EXPECT_EQ(of_container.at("offloads"), of_vm.at("offloads"));
  EXPECT_GT(guest->usage().network_receive.value().count, 0U);
  native->remove();
  EXPECT_EQ(first_answer("127.0.0.1", 38475), "hello\n");
  guest->remove();
  EXPECT_FALSE(std::filesystem::exists("/sys/class/net/tare0"));
  EXPECT_THAT(nft::run("list tables\n", "list tables"), Not(HasSubstr("tare")));
}

TEST_F(BridgeOfBoth, AVmCannotHaveTheHostsNetwork) {
  Workload workload = host_.workload({"exit", "0"});
  workload.network = Network::host;
  try {
    vm_->start(workload, vm_timeline_);
    FAIL() << "it was started";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::invalid);
    EXPECT_THAT(error.sentence(), HasSubstr("vm 'test' cannot have the host's network"));
  }
}

}  // namespace
}  // namespace tare
