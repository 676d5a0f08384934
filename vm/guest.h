// SPDX-License-Identifier: Apache-2.0
// The conversation with the tare-init of one guest: what it is told to run, the marks, output and exits that it reports.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/backend.h"
#include "vm/channel.h"
#include "vm/guest_streams.h"
#include "vm/guest_work.h"
#include "vm/kept.h"
#include "vm/plan.h"

namespace tare::vm {

/// Thread-safe after start().
class Guest {
 public:
  /// Called on the channel's thread, which must not be waited for in there, where nothing else is said.
  struct Watch {
    /// Once, when the workload's exit has arrived, or the guest is gone without one, and before wait() tells of it.
    std::function<void()> exiting;
    /// The exit has been told and the log is complete: the guest may go. Not called for one that is gone.
    std::function<void()> exited;
    /// The channel is closed, or nonsense came through it.
    std::function<void(bool nonsense)> ended;
    /// What the guest's kernel had to say, for the sentence about a failure; on any thread.
    std::function<std::string()> excuse;
  };

  /// `who` is "vm 'serve'", for sentences. `timeline` outlives this.
  Guest(GuestWork work, std::string who, Timeline& timeline, Watch watch);
  /// No callback runs after it. The guest itself does not learn of it.
  ~Guest();

  /// Talks over the unix socket `channel` and returns when the workload's execve succeeded, with the marks kernel, init and executed set.
  /// Throws Error.
  void start(const std::string& channel, Deadline deadline);

  /// What was said until a guest was frozen.
  struct Past {
    Position position;
    GuestStreams::Past streams;
  };
  /// Has the guest leave its network, and halts it by `stop` in a moment in which nothing is on its way; where something was, `go` lets it
  /// run and it is tried again. Throws Error(timeout), or what wait() throws.
  Past freeze(Deadline deadline, const std::function<void()>& stop, const std::function<void()>& go);
  /// Instead of start(), of a clone of the guest that was frozen, which does not run yet: connects, and tells it who it is.
  void resume(const std::string& channel, const Past& past, const std::string& mac);
  /// After resume() and the begin of its virtual CPUs: its log begins with what its template wrote. Returns when it is itself. Throws
  /// Error.
  void await_identified(const Past& past, Deadline deadline);

  /// The workload's output goes to disk too from now on.
  void keep(std::unique_ptr<KeptOutput> kept) { streams_.keep(std::move(kept)); }
  /// Instead of start(), of a guest whose agent has died, of which `kept` is left.
  void attach(const std::string& channel, std::unique_ptr<KeptOutput> kept);
  /// False when it has not answered at the deadline: it stands still, or has much to do. It goes on answering. Throws what wait() throws.
  bool await_attached(Deadline deadline);
  /// Instead of start(), of one that has ended, with the exit that an earlier agent heard, if one did.
  void over(const std::optional<KeptExit>& ended, std::unique_ptr<KeptOutput> kept);
  /// What it says from now on is the next agent's to hear: processes that exec added are killed, no callback runs.
  void leave();

  /// Of a clone that is itself and stopped: tells it the time, and marks another timeline from now on. await_told() after the begin of its
  /// virtual CPUs.
  void resume(Timeline& timeline);
  void await_told(Deadline deadline);

  /// Its virtual CPUs stood still, and its clock with them: what was known of that clock is no more.
  void recalibrate();

  const GuestWork& work() const { return work_; }
  const Log& log() const { return streams_.log(); }
  Log& log() { return streams_.log(); }
  std::unique_ptr<LogReader> kept_log(std::optional<std::uint64_t> lines) const { return streams_.kept_log(lines); }
  Input* input() { return streams_.input(); }

  /// The workload's exit; nothing at the deadline. Throws Error when the guest is gone without it.
  std::optional<Exit> wait(Deadline deadline);
  /// The exit, if it has been told.
  std::optional<Exit> exit() const;
  /// Of the workload's first process, or of every process. Waits for a guest that does not read.
  void signal(int number);
  /// Does not wait.
  void kill_all();
  void power_off();
  /// See Instance::start_exec(). The guest outlives what is returned.
  std::unique_ptr<Exec> start_exec(const ExecRequest& request, Deadline deadline);
  /// Asks for a reading; the last one when the guest does not answer at once, or nothing.
  std::optional<guest::GuestUsage> ask_usage();
  std::optional<guest::GuestUsage> last_usage() const;
  /// What it told of its machine; nothing when it was not asked, or when it does not tell.
  std::optional<Facts> facts();

  /// Its end is wanted: that it goes without an exit is no failure.
  void expect_end();
  /// True when the channel is closed.
  bool wait_ended(Deadline deadline) const;
  bool has_channel() const { return channel_ != nullptr; }
  /// Closes the channel and what it fed.
  void end();
  /// Who was killed from outside tells no exit.
  Exit assume_killed();

 private:
  // A process that exec added.
  struct Session {
    explicit Session(const ExecRequest& request) : streams(request.tty || request.open_stdin) {}
    GuestStreams streams;
    bool executed = false;  // this and what follows under mutex_
    std::optional<Exit> exit;
    std::optional<Error> failure;
  };
  class RunningExec;
  struct GuestMark {
    std::int64_t guest = 0;
    Instant arrived;
  };

  template <class From>
  void connect(const std::string& channel, const From& from);
  void queue_settings(const std::string& mac);
  bool try_freeze(Deadline deadline, const std::function<void()>& stop, Past& past);
  void send_work(Deadline deadline);
  void await_executed(Deadline deadline);
  void map_marks();
  void mark_guest(Mark mark, const GuestMark& reading);
  void note_guest(Moment moment, const std::optional<GuestMark>& reading);

  void on_frame(const guest::Frame& frame, Instant arrived);
  void on_hello(const guest::Hello& hello, Instant arrived);
  void on_executed(std::uint16_t process, const guest::Executed& executed, Instant arrived);
  void on_exited(std::uint16_t process, const guest::Exited& exited, Instant arrived);
  void on_failure(std::uint16_t process, const guest::Failure& failure);
  void on_identified();
  void require_attached(guest::Type type);
  void on_attached(const guest::Attached& attached, Instant arrived);
  void on_pong(const guest::Pong& pong, Instant arrived);
  void on_facts(const guest::Facts& facts);
  void on_usage(const guest::GuestUsage& usage);
  void on_end(const std::string& why);
  void ping();

  std::shared_ptr<Session> session_of(std::uint16_t process) const;
  void with_streams(std::uint16_t process, const std::function<void(GuestStreams&)>& act);
  void queue_exec(std::uint16_t number, const GuestCommand& command);
  void close_sessions();
  template <class Ready>
  bool wait_until(std::unique_lock<std::mutex>& lock, Deadline deadline, Ready ready) const;

  const GuestWork work_;
  const std::string who_;
  Timeline& timeline() const { return *timeline_.load(); }
  std::atomic<Timeline*> timeline_;
  const Watch watch_;
  GuestStreams streams_;  // of the workload

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  ClockMap clock_;  // this and what follows under mutex_
  std::uint64_t last_ping_ = 0;
  Instant ping_sent_;
  std::optional<GuestMark> kernel_, init_, loading_, loaded_, opened_, rooted_, executed_;
  bool identified_ = false;  // a clone is itself
  bool attaching_ = false;   // it has not answered to its token
  bool left_ = false;        // another agent's
  std::optional<Exit> exit_;
  std::optional<Error> failure_;  // of the start of the workload, or of the machine
  bool ended_ = false;            // the channel is closed: QEMU is gone or going
  bool end_expected_ = false;
  std::map<std::uint16_t, std::shared_ptr<Session>> sessions_;
  std::uint16_t next_session_ = 1;
  std::uint64_t next_request_ = 1;
  std::optional<guest::GuestUsage> usage_;  // the last answer
  std::optional<Facts> facts_;

  std::mutex sending_;                // the strings of one process must arrive together
  std::unique_ptr<Channel> channel_;  // last: its thread uses all of the above
};

template <class From>
void Guest::connect(const std::string& channel, const From& from) {
  channel_ = std::make_unique<Channel>(channel,
                                       Channel::Callbacks{[this](const guest::Frame& frame, Instant arrived) { on_frame(frame, arrived); },
                                                          [this](const std::string& why) { on_end(why); }},
                                       from);
}

template <class Ready>
bool Guest::wait_until(std::unique_lock<std::mutex>& lock, Deadline deadline, Ready ready) const {
  while (!ready()) {
    if (deadline.passed()) return false;
    changed_.wait_for(lock, std::min<std::chrono::nanoseconds>(deadline.left(), std::chrono::hours(1)));
  }
  return true;
}

}  // namespace tare::vm
