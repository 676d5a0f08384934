// SPDX-License-Identifier: Apache-2.0
#include "vm/guest.h"

#include <cerrno>
#include <csignal>

namespace tare::vm {
namespace {

constexpr int kExchanges = 5;                                  // of the clock ping-pong before a start returns
constexpr auto kGuestAnswer = std::chrono::milliseconds(500);  // for a reading that may be missing
constexpr auto kEnding = std::chrono::seconds(5);              // from a closed socket to the word of it
constexpr auto kClosed = "the channel was closed";

Exit exit_of(const guest::Exited& exited) {
  Exit exit;
  exit.code = exited.code;
  exit.signaled = exited.signaled != 0;
  exit.oom = exited.oom != 0;
  return exit;
}

// A reading that no clock has would overflow where it is mapped to the host's.
void require_clock(std::int64_t reading) {
  constexpr std::int64_t kMost = std::int64_t{1} << 61;  // 73 years
  if (reading < -kMost || reading > kMost) throw Error(Code::failed, "the guest sent a reading that no clock has");
}

}  // namespace

Guest::Guest(GuestWork work, std::string who, Timeline& timeline, Watch watch)
    : work_(std::move(work)),
      who_(std::move(who)),
      timeline_(&timeline),
      watch_(std::move(watch)),
      streams_(work_.command.tty || work_.command.open_stdin) {}

Guest::~Guest() { end(); }

// ---- start

void Guest::start(const std::string& channel, Deadline deadline) {
  connect(channel, Position());
  streams_.begin(*channel_, 0);
  channel_->listen();
  send_work(deadline);
  await_executed(deadline);
  map_marks();
}

// `mac` is empty where the card has the right one.
void Guest::queue_settings(const std::string& mac) {
  using Key = guest::Setting::Key;
  Channel& channel = *channel_;
  channel.queue_setting(Key::hostname, work_.hostname);
  if (!work_.token.empty()) channel.queue_setting(Key::token, work_.token);
  if (!mac.empty()) channel.queue_setting(Key::mac, mac);
  if (!work_.address.empty()) {
    channel.queue_setting(Key::address, work_.address);
    channel.queue_setting(Key::gateway, work_.gateway);
    channel.queue_setting(Key::gateway_mac, work_.gateway_mac);
  }
  if (!work_.resolver.empty()) channel.queue_setting(Key::resolver, work_.resolver);
}

void Guest::send_work(Deadline deadline) {
  Channel& channel = *channel_;
  queue_settings({});
  queue_mounts(channel, work_.mounts);
  queue_command(channel, work_.command);
  guest::Start start;
  start.pids = work_.pids;
  start.read_only_root = work_.read_only_root ? 1 : 0;
  start.attributes = attributes_of(work_.command);
  channel.queue(start);
  if (work_.asks_facts) channel.queue(guest::FactsRequest{});
  try {
    channel.flush(deadline);
  } catch (const Error& error) {
    std::unique_lock lock(mutex_);
    const bool gone = error.code() == Code::failed && wait_until(lock, Deadline::in(kEnding), [this] { return ended_; });
    if (gone && failure_) throw *failure_;  // why it went
    lock.unlock();
    // A guest that never read: what it printed says more than the socket does.
    throw Error(error.code(), who_ + ": " + error.sentence() + watch_.excuse(), "raise start_timeout, or see `tare doctor`");
  }
}

void Guest::await_executed(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto done = [this] { return failure_ || ended_ || (executed_ && (clock_.exchanges() >= kExchanges || exit_)); };
  if (!wait_until(lock, deadline, done) && !executed_) {
    const std::string phase = init_ ? "the guest's init did not start the workload" : "the guest's kernel did not reach its init";
    throw Error(Code::timeout, who_ + ": " + phase + " in time" + watch_.excuse(), "raise start_timeout, or see `tare doctor`");
  }
  if (failure_) throw *failure_;
  if (!executed_) throw Error(Code::failed, who_ + ": the guest ended before the workload ran" + watch_.excuse());
}

void Guest::map_marks() {
  const std::lock_guard lock(mutex_);
  if (!clock_.known()) {  // a guest that ended at once: only the message's arrival is known
    timeline().mark(Mark::executed, executed_->arrived);
    for (const Moment moment : {Moment::loading, Moment::loaded, Moment::opened, Moment::rooted}) {
      timeline().not_seen(moment, "the guest ended before its clock was mapped to the host's");
    }
    return;
  }
  if (kernel_) mark_guest(Mark::kernel, *kernel_);
  if (init_) mark_guest(Mark::init, *init_);
  note_guest(Moment::loading, loading_);
  note_guest(Moment::loaded, loaded_);
  note_guest(Moment::opened, opened_);
  note_guest(Moment::rooted, rooted_);
  mark_guest(Mark::executed, *executed_);
}

void Guest::note_guest(Moment moment, const std::optional<GuestMark>& reading) {
  if (reading) timeline().note(moment, std::min(clock_.host(reading->guest), reading->arrived), clock_.error_bound());
}

void Guest::mark_guest(Mark mark, const GuestMark& reading) {
  // A message cannot arrive before it was sent: the arrival bounds the mapped moment from above.
  const Instant at = std::min(clock_.host(reading.guest), reading.arrived);
  timeline().mark(mark, at, GuestReading{reading.guest, reading.arrived, clock_.error_bound()});
}

// ---- what the guest says (on the channel's thread)

void Guest::on_frame(const guest::Frame& frame, Instant arrived) {
  require_attached(frame.type);
  const auto with = [&]<class Message>(Message, auto handle) {
    const auto message = guest::decode<Message>(frame.payload);
    if (!message) throw Error(Code::failed, "the guest sent a damaged message");
    if constexpr (requires { message->at; }) require_clock(message->at);
    handle(*message);
  };
  using guest::Type;
  switch (frame.type) {
    case Type::hello: return with(guest::Hello{}, [&](const auto& m) { on_hello(m, arrived); });
    case Type::rooted:
      return with(guest::Rooted{}, [&](const auto& m) {
        const std::lock_guard lock(mutex_);
        rooted_ = GuestMark{m.at, arrived};
      });
    case Type::executed: return with(guest::Executed{}, [&](const auto& m) { on_executed(frame.process, m, arrived); });
    case Type::output:
      return with(guest::Output{}, [&](const auto& m) { with_streams(frame.process, [&](auto& streams) { streams.output(m, arrived); }); });
    case Type::input_taken:
      return with(guest::InputTaken{}, [&](const auto& m) { with_streams(frame.process, [&](auto& streams) { streams.input_taken(m); }); });
    case Type::exited: return with(guest::Exited{}, [&](const auto& m) { on_exited(frame.process, m, arrived); });
    case Type::failure: return with(guest::Failure{}, [&](const auto& m) { on_failure(frame.process, m); });
    case Type::attached: return with(guest::Attached{}, [&](const auto& m) { on_attached(m, arrived); });
    case Type::identified: return with(guest::Identified{}, [&](const auto&) { on_identified(); });
    case Type::pong: return with(guest::Pong{}, [&](const auto& m) { on_pong(m, arrived); });
    case Type::facts: return with(guest::Facts{}, [&](const auto& m) { on_facts(m); });
    case Type::usage: return with(guest::GuestUsage{}, [&](const auto& m) { on_usage(m); });
    default: throw Error(Code::failed, "the guest sent a message that only a host sends");
  }
}

void Guest::on_hello(const guest::Hello& hello, Instant arrived) {
  require_clock(hello.kernel), require_clock(hello.init);
  const std::lock_guard lock(mutex_);
  if (hello.version != guest::kVersion) {
    failure_.emplace(Code::failed, who_ + ": tare-init speaks another version of the protocol", "build tare anew: its parts do not match");
  }
  kernel_ = GuestMark{hello.kernel, arrived};
  init_ = GuestMark{hello.init, arrived};
  loading_ = GuestMark{hello.loading, arrived};
  loaded_ = GuestMark{hello.loaded, arrived};
  opened_ = GuestMark{hello.opened, arrived};
  changed_.notify_all();
}

void Guest::on_executed(std::uint16_t process, const guest::Executed& executed, Instant arrived) {
  const std::lock_guard lock(mutex_);
  if (process != 0) {
    if (const auto session = sessions_.find(process); session != sessions_.end()) session->second->executed = true;
    changed_.notify_all();
    return;
  }
  executed_ = GuestMark{executed.at, arrived};
  changed_.notify_all();
  ping();
}

void Guest::ping() {
  guest::Ping message;
  message.id = ++last_ping_;
  ping_sent_ = Instant::now();
  channel_->post(message);
}

void Guest::recalibrate() {
  const std::lock_guard lock(mutex_);
  clock_ = {};
  ping();
}

void Guest::on_pong(const guest::Pong& pong, Instant arrived) {
  const std::lock_guard lock(mutex_);
  if (pong.id != last_ping_) return;
  clock_.add(ping_sent_, pong.at, arrived);
  if (clock_.exchanges() < kExchanges) return ping();
  changed_.notify_all();
}

void Guest::on_identified() {
  const std::lock_guard lock(mutex_);
  identified_ = true;
  changed_.notify_all();
  ping();
}

void Guest::on_facts(const guest::Facts& facts) {
  const std::size_t line = facts.text.find('\n');
  if (line == std::string_view::npos) throw Error(Code::failed, "the guest sent a damaged message");
  const std::lock_guard lock(mutex_);
  facts_ =
      Facts{std::string(facts.text.substr(0, line)), facts.cpus, facts.nodes, Bytes{facts.memory}, flags_of(facts.text.substr(line + 1))};
  changed_.notify_all();
}

void Guest::on_usage(const guest::GuestUsage& usage) {
  const std::lock_guard lock(mutex_);
  usage_ = usage;
  changed_.notify_all();
}

std::shared_ptr<Guest::Session> Guest::session_of(std::uint16_t process) const {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(process);
  return found == sessions_.end() ? nullptr : found->second;
}

// Of a process that nobody remembers: what it says is nobody's.
void Guest::with_streams(std::uint16_t process, const std::function<void(GuestStreams&)>& act) {
  if (process == 0) return act(streams_);
  if (const auto session = session_of(process)) act(session->streams);
}

void Guest::on_exited(std::uint16_t process, const guest::Exited& exited, Instant arrived) {
  if (process != 0) {
    const auto session = session_of(process);
    if (!session) return;
    {
      const std::lock_guard lock(mutex_);
      session->exit = exit_of(exited);
      changed_.notify_all();
    }
    return session->streams.end();
  }
  streams_.end();
  watch_.exiting();
  {
    const std::lock_guard lock(mutex_);
    if (clock_.known()) {
      mark_guest(Mark::exited, GuestMark{exited.at, arrived});
    } else {
      timeline().mark(Mark::exited, arrived);
    }
    exit_ = exit_of(exited);
    changed_.notify_all();
  }
  watch_.exited();
}

void Guest::on_failure(std::uint16_t process, const guest::Failure& failure) {
  const std::string step(failure.text);
  const Code code = failure.number == ENOENT && step == "execve" ? Code::not_found : Code::failed;
  const std::lock_guard lock(mutex_);
  if (process == 0) {
    failure_.emplace(code, errno_text(who_ + ": " + step, failure.number));
  } else if (const auto session = sessions_.find(process); session != sessions_.end()) {
    session->second->failure.emplace(code, errno_text(who_ + ": exec: " + step, failure.number));
  }
  changed_.notify_all();
}

void Guest::on_end(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (left_) return;
  }
  const bool closed = why == kClosed;
  watch_.ended(!closed);
  streams_.end();
  std::unique_lock lock(mutex_);
  const bool unexpected = !exit_ && !failure_ && !end_expected_;
  if (unexpected) {
    lock.unlock();
    watch_.exiting();
    const std::string excuse = watch_.excuse();
    lock.lock();
    failure_.emplace(Code::failed, who_ + ": " + (closed ? "the virtual machine ended without the workload's exit" : why) + excuse, "");
    timeline().mark(Mark::exited);
  }
  ended_ = true;
  changed_.notify_all();
  lock.unlock();
  close_sessions();
}

// ---- while it runs

std::optional<Exit> Guest::wait(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!wait_until(lock, deadline, [this] { return exit_ || failure_ || ended_; })) return std::nullopt;
  if (exit_) return exit_;
  if (failure_) throw *failure_;
  throw Error(Code::conflict, who_ + " was removed while it ran");
}

std::optional<Exit> Guest::exit() const {
  const std::lock_guard lock(mutex_);
  return exit_;
}

void Guest::signal(int number) {
  guest::Signal message;
  message.number = number;
  channel_->send(message);
}

void Guest::kill_all() {
  guest::Signal message;
  message.number = SIGKILL;
  message.whole_tree = 1;
  channel_->post(message);
}

void Guest::power_off() { channel_->post(guest::PowerOff{}); }

std::optional<guest::GuestUsage> Guest::ask_usage() {
  std::unique_lock lock(mutex_);
  if (!channel_ || ended_ || exit_) return usage_;
  guest::UsageRequest request;
  request.id = next_request_++;
  channel_->post(request);
  wait_until(lock, Deadline::in(kGuestAnswer), [&] { return ended_ || exit_ || (usage_ && usage_->id >= request.id); });
  return usage_;
}

std::optional<guest::GuestUsage> Guest::last_usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

std::optional<Facts> Guest::facts() {
  std::unique_lock lock(mutex_);
  if (work_.asks_facts) wait_until(lock, Deadline::in(kGuestAnswer), [&] { return ended_ || facts_; });
  return facts_;
}

// ---- the end

void Guest::expect_end() {
  const std::lock_guard lock(mutex_);
  end_expected_ = true;
}

bool Guest::wait_ended(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return wait_until(lock, deadline, [this] { return ended_; });
}

void Guest::end() {
  if (channel_) channel_->end();  // and no callback runs any more
  close_sessions();
}

Exit Guest::assume_killed() {
  const std::lock_guard lock(mutex_);
  if (!exit_) {
    exit_ = Exit{SIGKILL, true, false};
    timeline().mark(Mark::exited);
    changed_.notify_all();
  }
  return *exit_;
}

}  // namespace tare::vm
