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
#include "guest/facts.h"
#include "guest/kernel.h"
#include "guest/mounts.h"
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
  char mac[64] = {};
  char resolver[4096] = {};  // the text of /etc/resolv.conf
};
Machine machine;
bool running = false;  // the workload was started

[[noreturn]] void give_up(const char* step) {
  const int error = errno;
  complain(step, error);
  if (channel::is_open()) {
    channel::fail(0, step, error);
    channel::drain(2000);
  }
  // The host ends the guest when it has read the sentence; without a host this is the end all the same.
  poll(nullptr, 0, 2000);
  power_off();
}

[[noreturn]] void give_up(const char* step, int error) {
  errno = error;
  give_up(step);
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
    case Setting::Key::program: return processes::next().set_program(setting.text);
    case Setting::Key::directory: return processes::next().set_directory(setting.text);
    case Setting::Key::hostname: return keep(machine.hostname, setting.text);
    case Setting::Key::address: return keep(machine.address, setting.text);
    case Setting::Key::gateway: return keep(machine.gateway, setting.text);
    case Setting::Key::gateway_mac: return keep(machine.gateway_mac, setting.text);
    case Setting::Key::resolver: return keep(machine.resolver, setting.text);
    case Setting::Key::mac: return keep(machine.mac, setting.text);
    case Setting::Key::token: return channel::expect(setting.text);
  }
  give_up("read of a setting", EPROTO);
}

void start_workload(const Start& start) {
  require(network::set_loopback_up());
  if (machine.address[0] != '\0') require(network::configure(machine.address, machine.gateway, machine.gateway_mac));
  if (machine.hostname[0] != '\0' && sethostname(machine.hostname, std::strlen(machine.hostname)) != 0) give_up("set of the hostname");
  require(processes::limit_processes(start.pids));
  require(rootfs::mount_root(machine.hostname, machine.resolver));
  require(rootfs::enter_root());
  require(mounts::make());
  if (start.read_only_root != 0) require(rootfs::make_read_only());
  Rooted rooted;
  rooted.at = now();
  channel::send(rooted, 0);
  running = processes::start(0, start.attributes);
}

void set_time(std::int64_t realtime) {
  if (!set_clock(realtime)) give_up("set of the clock");
  Identified identified;
  identified.at = now();
  channel::send(identified, 0);
}

// A clone becomes an instance of its own. Its template's card is down.
void assume(const Identity& identity) {
  if (!reseed(identity.seed)) give_up("reseed of the random number generator");
  if (sethostname(machine.hostname, std::strlen(machine.hostname)) != 0) give_up("set of the hostname");
  require(rootfs::rename(machine.hostname, machine.resolver));
  if (machine.mac[0] != '\0') require(network::set_mac(machine.mac));
  if (machine.address[0] != '\0') require(network::configure(machine.address, machine.gateway, machine.gateway_mac));
  set_time(identity.realtime);
}

template <class Message>
Message expect(const Frame& frame) {
  const auto message = decode<Message>(frame.payload);
  if (!message) give_up("read of a frame", EPROTO);
  return *message;
}

void answer(const Ping& ping) {
  Pong pong;
  pong.id = ping.id;
  pong.at = now();
  channel::send(pong, 0);
}

void handle(const Frame& frame) {
  Command& command = processes::next();
  switch (frame.type) {
    case Type::argument: return command.add_argument(frame.payload);
    case Type::environment: return command.add_environment(frame.payload);
    case Type::setting: return apply(expect<Setting>(frame));
    case Type::group: return command.add_group(expect<Group>(frame));
    case Type::limit: return command.add_limit(expect<Limit>(frame));
    case Type::mount: return mounts::add(expect<MountAt>(frame));
    case Type::start:
      if (!running) start_workload(expect<Start>(frame));
      return;
    case Type::exec: processes::start(frame.process, expect<Exec>(frame).attributes); return;
    case Type::signal: return processes::signal(frame.process, expect<Signal>(frame));
    case Type::input:
      if (!processes::feed(frame.process, frame.payload)) give_up("use of the window of an input", EPROTO);
      return;
    case Type::input_end: return processes::end_input(frame.process);
    case Type::resize: return processes::resize(frame.process, expect<Resize>(frame));
    case Type::output_taken:
      if (!processes::output_taken(frame.process, expect<OutputTaken>(frame).position)) give_up("use of the window of an output", EPROTO);
      return;
    case Type::freeze: return require(network::leave());
    case Type::identity: return assume(expect<Identity>(frame));
    case Type::clock: return set_time(expect<Clock>(frame).realtime);
    case Type::ping: return answer(expect<Ping>(frame));
    case Type::usage_request: channel::send(read_usage(expect<UsageRequest>(frame).id), 0); return;
    case Type::facts_request: channel::send(read_facts(), 0); return;
    case Type::power_off: power_off();
    default: give_up("use of a frame that only a guest sends", EPROTO);
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
  pollfd fds[2 + processes::kMostPolled];
  for (;;) {
    const int timeout = channel::prepare_poll(fds[0]);
    fds[1] = {children, POLLIN, 0};
    const std::size_t count = 2 + processes::poll_fds(std::span(fds).subspan(2));
    if (poll(fds, count, timeout) < 0) continue;
    if ((fds[1].revents & POLLIN) != 0) {
      signalfd_siginfo info;
      while (read(children, &info, sizeof info) == sizeof info) continue;
      processes::reap();
    }
    if (!channel::serve_poll(fds[0])) give_up("use of the channel");
    if (const auto position = channel::attached()) channel::send(processes::attach(*position), 0);
    for (Frame frame; channel::has_room() && channel::next(frame);) handle(frame);
    processes::move();
  }
}

}  // namespace
}  // namespace tare::guest

int main() {
  using namespace tare::guest;
  Hello hello;
  hello.version = kVersion;
  hello.init = now();
  hello.init_ticks = ticks();
  require(rootfs::mount_early());
  redirect_standard_streams();
  hello.kernel = kernel_entry();
  if (std::strstr(read_text("/proc/cmdline"), "tare.selftest") != nullptr) {
    announce("self-test passed");  // the host looks for it on the console: this accelerator brings a kernel up
    power_off();
  }
  hello.loading = now();
  if (!load_modules("/modules/channel")) give_up("load of the channel's modules");
  if (!load_modules("/modules/rest")) give_up("load of the modules");
  hello.loaded = now();
  if (!channel::open_port()) give_up("open of the channel");
  hello.opened = now();
  channel::send(hello, 0);
  require(rootfs::mount_disks());
  serve(block_signals());
}
