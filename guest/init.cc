// SPDX-License-Identifier: Apache-2.0
// tare-init: PID 1 of a guest. Mounts, loads modules, opens the channel, runs the workload that the host describes, and reports its
// marks, output, usage and exit. One thread, no allocation after main() began, no exception.

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "guest/channel.h"
#include "guest/kernel.h"
#include "guest/network.h"
#include "guest/processes.h"
#include "guest/protocol.h"
#include "guest/rootfs.h"
#include "guest/usage.h"

namespace tare::guest {
namespace {

// The host's side of the workload's set-up, as its settings arrive.
struct Machine {
  char hostname[65] = {};
  char address[64] = {};
  char gateway[64] = {};
  char gateway_mac[64] = {};
  char resolver[4096] = {};  // the text of /etc/resolv.conf
};
Machine machine;
bool running = false;  // the workload was started

[[noreturn]] void give_up(const char* step) {
  const int error = errno;
  complain(step, error);
  if (channel::fd() >= 0) channel::fail(0, step, error);
  // The host ends the guest when it has read the sentence; without a host this is the end all the same.
  poll(nullptr, 0, 2000);
  power_off();
}

void require(const char* failed_step) {
  if (failed_step != nullptr) give_up(failed_step);
}

template <std::size_t Size>
void keep(char (&to)[Size], std::string_view text) {
  const std::size_t size = text.size() < Size - 1 ? text.size() : Size - 1;
  std::memcpy(to, text.data(), size);
  to[size] = '\0';
}

void apply(const Setting& setting) {
  switch (static_cast<Setting::Key>(setting.key)) {
    case Setting::Key::program: return processes::set_program(setting.text);
    case Setting::Key::directory: return processes::set_directory(setting.text);
    case Setting::Key::hostname: return keep(machine.hostname, setting.text);
    case Setting::Key::address: return keep(machine.address, setting.text);
    case Setting::Key::gateway: return keep(machine.gateway, setting.text);
    case Setting::Key::gateway_mac: return keep(machine.gateway_mac, setting.text);
    case Setting::Key::resolver: return keep(machine.resolver, setting.text);
  }
  errno = EPROTO;
  give_up("read of a setting");
}

void start_workload(const Start& start) {
  require(network::set_loopback_up());
  if (machine.address[0] != '\0') require(network::configure(machine.address, machine.gateway, machine.gateway_mac));
  if (machine.hostname[0] != '\0' && sethostname(machine.hostname, std::strlen(machine.hostname)) != 0) give_up("set of the hostname");
  require(processes::limit_processes(start.pids));
  require(rootfs::mount_root(machine.hostname, machine.resolver));
  require(rootfs::enter_root());
  running = processes::start(0, start.restricted != 0);
}

template <class Message>
Message expect(const Frame& frame) {
  const auto message = decode<Message>(frame.payload);
  errno = EPROTO;
  if (!message) give_up("read of a frame");
  return *message;
}

void handle(const Frame& frame) {
  switch (frame.type) {
    case Type::argument: return processes::add_argument(frame.payload);
    case Type::environment: return processes::add_environment(frame.payload);
    case Type::setting: return apply(expect<Setting>(frame));
    case Type::start:
      if (!running) start_workload(expect<Start>(frame));
      return;
    case Type::exec: processes::start(frame.process, expect<Exec>(frame).restricted != 0); return;
    case Type::signal: return processes::signal(frame.process, expect<Signal>(frame));
    case Type::ping: {
      Pong pong;
      pong.id = expect<Ping>(frame).id;
      pong.at = now();
      channel::send(pong, 0);
      return;
    }
    case Type::usage_request: channel::send(read_usage(expect<UsageRequest>(frame).id), 0); return;
    case Type::power_off: power_off();
    default: errno = EPROTO; give_up("use of a frame that only a guest sends");
  }
}

// The kernel opened its console for us, or nothing where it has none; either way the workload's stdin must be an empty one.
void redirect_standard_streams() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fd == null) {
      fcntl(fd, F_SETFD, 0);
    } else if (dup2(null, fd) < 0) {
      give_up("redirection of the standard streams");
    }
  }
  if (null > STDERR_FILENO) close(null);
}

int block_signals() {
  // PID 1 ignores signals without a handler; SIGCHLD arrives through a descriptor.
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
}

[[noreturn]] void serve(int children) {
  pollfd fds[2 + 2 * processes::kMost];
  for (;;) {
    fds[0] = {channel::fd(), POLLIN, 0};
    fds[1] = {children, POLLIN, 0};
    const std::size_t count = 2 + processes::poll_fds(std::span(fds).subspan(2));
    if (poll(fds, count, -1) < 0) continue;
    processes::forward();
    if ((fds[1].revents & POLLIN) != 0) {
      signalfd_siginfo info;
      while (read(children, &info, sizeof info) == sizeof info) continue;
      processes::reap();
    }
    if ((fds[0].revents & (POLLIN | POLLHUP)) != 0) {
      if (!channel::receive()) give_up("read of the channel");
      for (Frame frame; channel::next(frame);) handle(frame);
    }
  }
}

}  // namespace
}  // namespace tare::guest

int main() {
  using namespace tare::guest;
  Hello hello;
  hello.version = kVersion;
  hello.init = now();
  require(rootfs::mount_early());
  redirect_standard_streams();
  hello.kernel = kernel_entry();
  if (std::strstr(read_text("/proc/cmdline"), "tare.selftest") != nullptr) {
    announce("self-test passed");  // the host looks for it on the console: this accelerator brings a kernel up
    power_off();
  }
  if (!load_modules("/modules/channel")) give_up("load of the channel's modules");
  if (!load_modules("/modules/rest")) give_up("load of the modules");
  if (!channel::open_port()) give_up("open of the channel");
  channel::send(hello, 0);
  require(rootfs::mount_disks());
  serve(block_signals());
}
