// SPDX-License-Identifier: Apache-2.0
#include "vm/vm_instance.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "core/netlink.h"

namespace tare::vm {
namespace {

constexpr int kExchanges = 5;                                  // of the clock ping-pong before a start returns
constexpr auto kGuestAnswer = std::chrono::milliseconds(500);  // for a reading that may be missing
constexpr auto kLibvirtEnd = std::chrono::seconds(5);          // from QEMU's end to libvirt's having seen it
constexpr auto kAfterKill = std::chrono::seconds(5);

Exit exit_of(const guest::Exited& exited) {
  Exit exit;
  exit.code = exited.code;
  exit.signaled = exited.signaled != 0;
  exit.oom = exited.oom != 0;
  return exit;
}

}  // namespace

VmInstance::VmInstance(VmPlan plan, GuestWork work, std::string who, std::string address, VmResources resources, Timeline& timeline)
    : plan_(std::move(plan)),
      work_(std::move(work)),
      who_(std::move(who)),
      address_(std::move(address)),
      timeline_(timeline),
      resources_(std::move(resources)) {}

VmInstance::~VmInstance() {
  try {
    remove();
  } catch (const Error&) {  // recovery finds what stayed by its owner file
  }
}

template <class Ready>
bool VmInstance::wait_until(std::unique_lock<std::mutex>& lock, Deadline deadline, Ready ready) const {
  while (!ready()) {
    if (deadline.passed()) return false;
    changed_.wait_for(lock, std::min<std::chrono::nanoseconds>(deadline.left(), std::chrono::hours(1)));
  }
  return true;
}

// ---- start

void VmInstance::boot(const std::string& xml, Deadline deadline) {
  create_domain(xml);
  timeline_.mark(Mark::launched);
  channel_ = std::make_unique<Channel>(plan_.channel.string(),
                                       Channel::Callbacks{[this](const guest::Frame& frame, Instant arrived) { on_frame(frame, arrived); },
                                                          [this](const std::string& why) { on_end(why); }});
  channel_->listen();
  send_work(deadline);
  await_executed(deadline);
  map_marks();
}

void VmInstance::create_domain(const std::string& xml) {
  resources_.connection->on_stopped(plan_.name, [this] {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  });
  try {
    domain_ = resources_.connection->create(xml, who_);
  } catch (const Error&) {
    resources_.connection->never_started(plan_.name);
    throw;
  }
  if (const auto pid = resources_.connection->emulator_pid(plan_.name)) {
    emulator_pid_ = *pid;
    emulator_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
    // libvirtd's QEMU was born in libvirt's group, which it may have left again thread by thread.
    if (!resources_.connection->embedded()) resources_.group->add_process(*pid);
  } else if (!resources_.connection->embedded()) {
    throw Error(Code::unsuited, who_ + ": libvirt runs its QEMU where this host does not see it", "set vm.connection to embed");
  }
}

void VmInstance::send_work(Deadline deadline) {
  using Key = guest::Setting::Key;
  Channel& channel = *channel_;
  channel.queue_setting(Key::hostname, work_.hostname);
  if (!work_.address.empty()) {
    channel.queue_setting(Key::address, work_.address);
    channel.queue_setting(Key::gateway, work_.gateway);
    channel.queue_setting(Key::gateway_mac, work_.gateway_mac);
  }
  if (!work_.resolver.empty()) channel.queue_setting(Key::resolver, work_.resolver);
  channel.queue_setting(Key::program, work_.program);
  channel.queue_setting(Key::directory, work_.directory);
  for (const std::string& text : work_.arguments) channel.queue_text(guest::Type::argument, text);
  for (const std::string& text : work_.environment) channel.queue_text(guest::Type::environment, text);
  guest::Start start;
  start.pids = work_.pids;
  start.restricted = work_.restricted ? 1 : 0;
  channel.queue(start);
  try {
    channel.flush(deadline);
  } catch (const Error& error) {
    // A guest that ended, or that never read: what it printed says more than the socket does.
    throw Error(error.code(), who_ + ": " + error.sentence() + last_console_line(), "raise start_timeout, or see `tare doctor`");
  }
}

void VmInstance::await_executed(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto done = [this] { return failure_ || ended_ || (executed_ && (clock_.exchanges() >= kExchanges || exit_)); };
  if (!wait_until(lock, deadline, done) && !executed_) {
    const std::string phase = init_ ? "the guest's init did not start the workload" : "the guest's kernel did not reach its init";
    throw Error(Code::timeout, who_ + ": " + phase + " in time" + last_console_line(), "raise start_timeout, or see `tare doctor`");
  }
  if (failure_) throw *failure_;
  if (!executed_) throw Error(Code::failed, who_ + ": the guest ended before the workload ran" + last_console_line());
  if (!exit_) state_ = State::running;
}

void VmInstance::map_marks() {
  const std::lock_guard lock(mutex_);
  if (!clock_.known()) {  // a guest that ended at once: only the message's arrival is known
    timeline_.mark(Mark::executed, executed_->arrived);
    return;
  }
  if (kernel_) mark_guest(Mark::kernel, *kernel_);
  if (init_) mark_guest(Mark::init, *init_);
  mark_guest(Mark::executed, *executed_);
}

void VmInstance::mark_guest(Mark mark, const GuestMark& reading) {
  // A message cannot arrive before it was sent: the arrival bounds the mapped moment from above.
  const Instant at = std::min(clock_.host(reading.guest), reading.arrived);
  timeline_.mark(mark, at, GuestReading{reading.guest, reading.arrived, clock_.error_bound()});
}

// ---- what the guest says (on the channel's thread)

void VmInstance::on_frame(const guest::Frame& frame, Instant arrived) {
  const auto with = [&]<class Message>(Message, auto handle) {
    const auto message = guest::decode<Message>(frame.payload);
    if (!message) throw Error(Code::failed, "the guest sent a damaged message");
    handle(*message);
  };
  using guest::Type;
  switch (frame.type) {
    case Type::hello: return with(guest::Hello{}, [&](const auto& m) { on_hello(m, arrived); });
    case Type::executed: return with(guest::Executed{}, [&](const auto& m) { on_executed(frame.process, m, arrived); });
    case Type::output: return with(guest::Output{}, [&](const auto& m) { on_output(frame.process, m, arrived); });
    case Type::exited: return with(guest::Exited{}, [&](const auto& m) { on_exited(frame.process, m, arrived); });
    case Type::failure: return with(guest::Failure{}, [&](const auto& m) { on_failure(frame.process, m); });
    case Type::pong: return with(guest::Pong{}, [&](const auto& m) { on_pong(m, arrived); });
    case Type::usage:
      return with(guest::GuestUsage{}, [&](const auto& m) {
        const std::lock_guard lock(mutex_);
        guest_usage_ = m;
        changed_.notify_all();
      });
    default: throw Error(Code::failed, "the guest sent a message that only a host sends");
  }
}

void VmInstance::on_hello(const guest::Hello& hello, Instant arrived) {
  const std::lock_guard lock(mutex_);
  if (hello.version != guest::kVersion) {
    failure_.emplace(Code::failed, who_ + ": tare-init speaks another version of the protocol", "build tare anew: its parts do not match");
  }
  kernel_ = GuestMark{hello.kernel, arrived};
  init_ = GuestMark{hello.init, arrived};
  changed_.notify_all();
}

void VmInstance::on_executed(std::uint16_t process, const guest::Executed& executed, Instant arrived) {
  if (process != 0) return;
  const std::lock_guard lock(mutex_);
  executed_ = GuestMark{executed.at, arrived};
  changed_.notify_all();
  ping();
}

void VmInstance::ping() {
  guest::Ping message;
  message.id = ++last_ping_;
  ping_sent_ = Instant::now();
  channel_->post(message);
}

void VmInstance::on_pong(const guest::Pong& pong, Instant arrived) {
  const std::lock_guard lock(mutex_);
  if (pong.id != last_ping_) return;
  clock_.add(ping_sent_, pong.at, arrived);
  if (clock_.exchanges() < kExchanges) return ping();
  changed_.notify_all();
}

void VmInstance::on_output(std::uint16_t process, const guest::Output& output, Instant arrived) {
  if (process == 0) return log_.append(output.stream == 2 ? Stream::err : Stream::out, output.text, arrived);
  const std::lock_guard lock(mutex_);
  const auto session = sessions_.find(process);
  if (session == sessions_.end()) return;
  (output.stream == 2 ? session->second.err : session->second.out).append(output.text);
}

void VmInstance::on_exited(std::uint16_t process, const guest::Exited& exited, Instant arrived) {
  if (process != 0) {
    const std::lock_guard lock(mutex_);
    if (const auto session = sessions_.find(process); session != sessions_.end()) session->second.exit = exit_of(exited);
    changed_.notify_all();
    return;
  }
  log_.close();
  Usage last = resources_.group->usage();  // QEMU's memory can be read only while it lives
  {
    const std::lock_guard lock(mutex_);
    final_usage_ = last;
    if (clock_.known()) {
      mark_guest(Mark::exited, GuestMark{exited.at, arrived});
    } else {
      timeline_.mark(Mark::exited, arrived);
    }
    exit_ = exit_of(exited);
    state_ = State::exited;
    changed_.notify_all();
  }
  // The log is complete and the disk dies with the guest. A QEMU that ends by itself closes its monitor first and its process later, and
  // libvirt then waits 200 ms; killed, it is gone at once.
  if (!kill_emulator_process()) channel_->post(guest::PowerOff{});
}

void VmInstance::on_failure(std::uint16_t process, const guest::Failure& failure) {
  const std::string step(failure.text);
  const Code code = failure.number == ENOENT && step == "execve" ? Code::not_found : Code::failed;
  const std::lock_guard lock(mutex_);
  if (process == 0) {
    failure_.emplace(code, errno_text(who_ + ": " + step, failure.number));
  } else if (const auto session = sessions_.find(process); session != sessions_.end()) {
    session->second.failure.emplace(code, errno_text(who_ + ": exec: " + step, failure.number));
  }
  changed_.notify_all();
}

void VmInstance::on_end(const std::string& why) {
  // Reaped at once: libvirt looks for the end of QEMU in steps of 200 ms, and a process that nobody reaped has not ended.
  if (emulator_) {
    if (why != "the channel was closed") kill_emulator_process();
    pollfd gone{emulator_.get(), POLLIN, 0};
    if (::poll(&gone, 1, 2000) > 0) ::waitpid(emulator_pid_, nullptr, 0);
  }
  log_.close();
  const std::lock_guard lock(mutex_);
  ended_ = true;
  if (!exit_ && !failure_ && !removing_) {
    const std::string what = why == "the channel was closed" ? "the virtual machine ended without the workload's exit" : why;
    failure_.emplace(Code::failed, who_ + ": " + what + last_console_line(), "");
    timeline_.mark(Mark::exited);
    state_ = State::exited;
  }
  changed_.notify_all();
}

std::string VmInstance::last_console_line() const {
  std::string text = try_read_file(plan_.console).value_or("");
  const std::size_t panic = text.rfind("Kernel panic");
  if (panic != std::string::npos) text.resize(std::min(text.find_first_of("\r\n", panic), text.size()));  // a trace follows it
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  const std::size_t begin = text.rfind('\n');
  text.erase(0, begin == std::string::npos ? 0 : begin + 1);
  text.resize(std::min<std::size_t>(text.size(), 200));
  return text.empty() ? "; its kernel printed nothing" : text.insert(0, "; its kernel's last line: ");
}

// ---- while it runs

void VmInstance::require_running(std::string_view action) const {
  const State now = state_.load();
  if (now == State::running || now == State::paused) return;
  throw Error(Code::conflict, who_ + " is " + std::string(tare::name(now)) + ": cannot " + std::string(action) + " it");
}

std::optional<guest::GuestUsage> VmInstance::ask_guest() const {
  std::unique_lock lock(mutex_);
  if (state_.load() != State::running || ended_) return guest_usage_;
  guest::UsageRequest request;
  request.id = next_request_++;
  channel_->post(request);
  wait_until(lock, Deadline::in(kGuestAnswer), [&] { return ended_ || exit_ || (guest_usage_ && guest_usage_->id >= request.id); });
  return guest_usage_;
}

Usage VmInstance::usage() const {
  Usage usage;
  {
    const std::lock_guard lock(mutex_);
    if (final_usage_) usage = *final_usage_;
    if (!usage.memory && resources_.group) usage = resources_.group->usage();
    if (resources_.tap) {
      const auto counted = netlink::counters(resources_.tap->name());  // the tap's end: what it receives is what the guest sends
      usage.network_receive = Bytes{counted.transmitted};
      usage.network_transmit = Bytes{counted.received};
    }
  }
  // Last: the guest's answer costs CPU time on QEMU's account.
  if (const auto guest = ask_guest()) {
    usage.guest_cpu = std::chrono::nanoseconds(guest->cpu_nanoseconds);
    usage.guest_memory_used = Bytes{guest->memory_used};
    usage.oom_kills = guest->oom_kills;  // the host's group holds QEMU, which has no limit
  }
  return usage;
}

std::map<std::string, std::string> VmInstance::protections() const {
  std::map<std::string, std::string> all = {{"kernel", "its own"},
                                            {"accelerator", std::string(tare::vm::name(plan_.accelerator))},
                                            {"emulator", "QEMU's seccomp filter"},
                                            {"capabilities", std::string(work_.restricted ? "the container's 14" : "all")},
                                            {"no_new_privs", std::string(work_.restricted ? "1" : "0")}};
  const std::lock_guard lock(mutex_);
  if (resources_.place) all.merge(bridge::description(resources_.place->place()));
  if (!work_.resolver_note.empty()) all["name_servers"] = work_.resolver_note;
  return all;
}

std::optional<Exit> VmInstance::wait(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!wait_until(lock, deadline, [this] { return exit_ || failure_ || ended_; })) return std::nullopt;
  if (exit_) return exit_;
  if (failure_) throw *failure_;
  throw Error(Code::conflict, who_ + " was removed while it ran");
}

void VmInstance::signal(int number) {
  require_running("signal");
  guest::Signal message;
  message.number = number;
  channel_->send(message);
}

void VmInstance::pause() {
  const std::lock_guard change(change_mutex_);
  require_running("pause");
  if (virDomainSuspend(domain_.get()) < 0) throw_libvirt(who_);
  State running = State::running;
  state_.compare_exchange_strong(running, State::paused);  // it may have ended meanwhile
}

void VmInstance::resume() {
  const std::lock_guard change(change_mutex_);
  require_running("resume");
  if (virDomainResume(domain_.get()) < 0) throw_libvirt(who_);
  State paused = State::paused;
  state_.compare_exchange_strong(paused, State::running);
}

void VmInstance::queue_exec(std::uint16_t number, const std::vector<std::string>& command) {
  for (const std::string& text : command) {  // all before the first: a half-sent list would become part of the next one
    if (text.size() > guest::kMaxPayload) throw Error(Code::invalid, who_ + ": exec: an argument is longer than a kernel takes");
  }
  const std::lock_guard lock(sending_);
  channel_->queue_setting(guest::Setting::Key::directory, work_.directory);
  for (const std::string& text : command) channel_->queue_text(guest::Type::argument, text);
  for (const std::string& text : work_.environment) channel_->queue_text(guest::Type::environment, text);
  guest::Exec exec;
  exec.restricted = work_.restricted ? 1 : 0;
  channel_->queue(exec, number);
}

ExecResult VmInstance::read_exec(std::uint16_t number, const std::string& command, Deadline deadline) {
  std::unique_lock lock(mutex_);
  Session& session = sessions_.at(number);
  const auto done = [&] { return session.exit || session.failure || ended_ || exit_; };
  if (!wait_until(lock, deadline, done)) {
    guest::Signal kill;
    kill.number = SIGKILL;
    channel_->post(kill, number);
    throw Error(Code::timeout, who_ + ": exec of '" + command + "' did not end in time; it was killed");
  }
  if (session.failure) throw *session.failure;
  if (!session.exit) throw Error(Code::failed, who_ + ": the instance ended before exec of '" + command + "' did");
  return {*session.exit, std::move(session.out), std::move(session.err)};
}

ExecResult VmInstance::exec(const std::vector<std::string>& command, Deadline deadline) {
  require_running("exec in");
  if (command.empty()) throw Error(Code::invalid, who_ + ": exec without a command");
  std::uint16_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    do number = next_session_++;
    while (number == 0 || sessions_.contains(number));
    sessions_.try_emplace(number);
  }
  const auto forget = [&] {
    const std::lock_guard lock(mutex_);
    sessions_.erase(number);
  };
  try {
    queue_exec(number, command);
    channel_->flush(deadline);
    ExecResult result = read_exec(number, command[0], deadline);
    forget();
    return result;
  } catch (...) {
    forget();
    throw;
  }
}

// ---- the end

Exit VmInstance::stop(std::chrono::nanoseconds grace) {
  timeline_.mark(Mark::stopping);
  try {
    if (state_.load() == State::paused) resume();
    if (state_.load() == State::running) signal(SIGTERM);
    if (const auto exit = wait(Deadline::in(grace))) return *exit;
    guest::Signal kill;
    kill.number = SIGKILL;
    kill.whole_tree = 1;
    channel_->post(kill);
    if (const auto exit = wait(Deadline::in(kAfterKill))) return *exit;
  } catch (const Error&) {  // it ended while we asked it to
    const std::lock_guard lock(mutex_);
    if (exit_) return *exit_;
    if (!ended_) throw;
  }
  kill_emulator();  // a guest that does not answer
  const std::lock_guard lock(mutex_);
  if (!exit_) {
    exit_ = Exit{SIGKILL, true, false};
    timeline_.mark(Mark::exited);
    state_ = State::exited;
  }
  return *exit_;
}

bool VmInstance::kill_emulator_process() {
  if (!emulator_) return false;
  ::syscall(SYS_pidfd_send_signal, emulator_.get(), SIGKILL, nullptr, 0);  // fails when it is dead, which is what we want
  return true;
}

// QEMU is our child and its disk dies with it: SIGKILL is the shortest way, and libvirt sees the monitor close.
void VmInstance::kill_emulator() {
  {
    const std::lock_guard lock(mutex_);
    removing_ = true;
  }
  if (!domain_) return;
  if (!kill_emulator_process()) virDomainDestroy(domain_.get());
  std::unique_lock lock(mutex_);
  // The channel's thread reaps QEMU; without one, or with QEMU elsewhere, libvirt's word is all there is.
  const bool reaped = emulator_ && channel_;
  const bool gone = wait_until(lock, Deadline::in(kLibvirtEnd), [&] { return reaped ? ended_ : stopped_; });
  lock.unlock();
  if (!gone) virDomainDestroy(domain_.get());  // fails when the domain is gone, which is what we want
}

void VmInstance::release() {
  resources_.connection->forget(plan_.name);
  if (channel_) channel_->end();  // and no callback runs any more
  domain_.reset();
  if (resources_.group && !resources_.group->kill_all(Deadline::in(kAfterKill))) {
    throw Error(Code::failed, who_ + ": processes stay in control group " + resources_.group->path());
  }
  const std::lock_guard lock(mutex_);
  if (resources_.place) resources_.place->remove();
  resources_.place.reset();
  if (resources_.tap) resources_.tap->remove();
  resources_.tap.reset();
  resources_.group.reset();
  resources_.directory.remove();
}

void VmInstance::remove() {
  const std::lock_guard change(change_mutex_);
  if (state_.load() == State::removed) return;
  kill_emulator();
  {
    const std::lock_guard lock(mutex_);
    if (!final_usage_ && resources_.group) final_usage_ = resources_.group->usage();
  }
  release();
  state_ = State::removed;
  timeline_.mark(Mark::removed);
}

}  // namespace tare::vm
