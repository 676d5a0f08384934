// SPDX-License-Identifier: Apache-2.0
#include "vm/emulator.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "vm/exits.h"

namespace tare::vm {
namespace {

constexpr int kEnd = 2000;  // ms; from the close of QEMU's channel to its end
constexpr auto kLook = std::chrono::microseconds(500);

// The commands of a migration by which a machine's state goes to a file and comes from it.
constexpr auto kMemoryStays =
    R"({"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"x-ignore-shared","state":true}]}})";
constexpr auto kTakeState = R"({"execute":"getfd","arguments":{"fdname":"state"}})";
// An announcement would carry the template's address.
constexpr auto kSaysNothing = R"({"execute":"migrate-set-parameters","arguments":{"announce-rounds":0}})";

// What tare-emulator left in the environment of the QEMU that it became.
std::optional<Instant> begin_of(int pid) {
  constexpr std::string_view kKey = "TARE_BEGAN=";
  const std::string environment = '\0' + try_read_file("/proc/" + std::to_string(pid) + "/environ").value_or("");
  const std::size_t at = environment.find('\0' + std::string(kKey));
  if (at == std::string::npos) return std::nullopt;
  return Instant{std::strtoll(environment.c_str() + at + 1 + kKey.size(), nullptr, 10)};
}

}  // namespace

Emulator::~Emulator() {
  if (!domain_) return;
  if (kill()) {
    reap();
  } else {
    destroy();
  }
  forget();
}

void Emulator::watch() {
  connection_->on_stopped(name_, [this] {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  });
}

void Emulator::take(int pid) {
  pid_ = pid;
  process_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const std::string arguments = try_read_file("/proc/" + std::to_string(pid) + "/cmdline").value_or("");
  has_vhost_ = arguments.find(R"("vhost":true)") != std::string::npos || arguments.find("vhost=on") != std::string::npos;
}

bool Emulator::adopt() {
  watch();
  Domain domain = connection_->find(name_);
  if (const auto pid = domain ? connection_->emulator_pid(name_) : std::nullopt) take(*pid);
  if (!process_ || !alive()) {
    connection_->leave(name_);
    process_.reset();
    pid_ = -1;
    return false;
  }
  domain_ = std::move(domain);
  return true;
}

bool Emulator::stands_still() const {
  int state = VIR_DOMAIN_NOSTATE;
  return virDomainGetState(domain_.get(), &state, nullptr, 0) == 0 && state == VIR_DOMAIN_PAUSED;
}

void Emulator::leave() {
  connection_->leave(name_);
  const std::lock_guard lock(mutex_);
  domain_.reset();
}

void Emulator::create(const std::string& xml, ControlGroup& group, bool stopped) {
  watch();
  try {
    domain_ = connection_->create(xml, who_, stopped);
  } catch (const Error&) {
    connection_->never_started(name_);
    throw;
  }
  if (const auto pid = connection_->emulator_pid(name_)) {
    take(*pid);
    began_ = begin_of(*pid);
    // libvirtd's QEMU was born in libvirt's group, which it may have left again thread by thread.
    if (!connection_->embedded()) group.add_process(*pid);
  } else if (!connection_->embedded()) {
    throw Error(Code::unsuited, who_ + ": libvirt runs its QEMU where this host does not see it", "set vm.connection to embed");
  }
}

void Emulator::tell(Timeline& timeline, Instant running) const {
  if (began_) {
    timeline.note(Moment::spawned, *began_);
  } else if (connection_->embedded()) {
    timeline.not_seen(Moment::spawned, "QEMU had ended before anybody could ask when it began");
  } else {
    timeline.not_seen(Moment::spawned, "libvirtd executes QEMU itself; set vm.connection to embed to see it");
  }
  const auto since = connection_->running_since(name_);
  timeline.mark(Mark::launched, since.value_or(running));
  if (since) {
    timeline.note(Moment::entered, *since);
  } else {
    timeline.not_seen(Moment::entered, "libvirt passed no event of QEMU's on when its virtual CPU began");
  }
}

void Emulator::pause() {
  if (virDomainSuspend(domain_.get()) < 0) throw_libvirt(who_);
}

void Emulator::resume() {
  if (virDomainResume(domain_.get()) < 0) throw_libvirt(who_);
}

bool Emulator::alive() const {
  pollfd gone{process_.get(), POLLIN, 0};
  return !process_ || ::poll(&gone, 1, 0) == 0;
}

bool Emulator::kill() {
  if (!process_) return false;
  ::syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0);  // fails when it is dead, which is what we want
  return true;
}

void Emulator::reap() {
  {
    const std::lock_guard lock(mutex_);
    if (!process_ || std::exchange(reaped_, true)) return;
  }
  pollfd gone{process_.get(), POLLIN, 0};
  if (::poll(&gone, 1, kEnd) > 0) ::waitpid(pid_, nullptr, 0);
}

bool Emulator::wait_stopped(Deadline deadline) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, deadline.left(), [this] { return stopped_; });
}

std::map<std::string, std::uint64_t> Emulator::exits() {
  Domain domain;  // ours, whoever forgets the other one meanwhile
  {
    const std::lock_guard lock(mutex_);
    if (!domain_ || virDomainRef(domain_.get()) < 0) return {};
    domain.reset(domain_.get());
  }
  try {
    return exits_of(connection_->ask_monitor(domain.get(), std::string(kAskExits), who_));
  } catch (const Error&) {  // it is gone, or too old for the question
    return {};
  }
}

std::string Emulator::ask(const std::string& command, int fd) { return connection_->ask_monitor(domain_.get(), command, who_, fd); }

void Emulator::await_migration(Deadline deadline) {
  for (;;) {
    const std::string answer = ask(R"({"execute":"query-migrate"})");
    if (answer.find(R"("status":"completed")") != std::string::npos) return;
    if (answer.find(R"("status":"failed")") != std::string::npos)
      throw Error(Code::failed, who_ + ": QEMU's state did not pass: " + answer);
    if (deadline.passed()) throw Error(Code::timeout, who_ + ": QEMU's state did not pass in time: " + answer);
    std::this_thread::sleep_for(kLook);
  }
}

void Emulator::save_state(const std::filesystem::path& file, Deadline deadline) {
  const Fd out = open_file(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ask(kMemoryStays);
  ask(kTakeState, out.get());
  ask(R"({"execute":"migrate","arguments":{"uri":"fd:state"}})");
  await_migration(deadline);
}

void Emulator::load_state(const std::filesystem::path& file, Deadline deadline) {
  const Fd in = open_file(file, O_RDONLY);
  ask(kMemoryStays);
  ask(kSaysNothing);
  ask(kTakeState, in.get());
  ask(R"({"execute":"migrate-incoming","arguments":{"uri":"fd:state"}})");
  await_migration(deadline);
}

void Emulator::destroy() {
  if (domain_) virDomainDestroy(domain_.get());  // fails when the domain is gone, which is what we want
}

void Emulator::forget() {
  connection_->forget(name_);
  const std::lock_guard lock(mutex_);
  domain_.reset();
}

}  // namespace tare::vm
