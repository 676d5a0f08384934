// SPDX-License-Identifier: Apache-2.0
// Further processes in a guest.
#include <csignal>

#include "core/error.h"
#include "vm/guest.h"

namespace tare::vm {

/// Its session is known to the guest as long as it lives.
class Guest::RunningExec final : public Exec {
 public:
  RunningExec(Guest& owner, const ExecRequest& request)
      : owner_(owner), command_(request.command[0]), session_(std::make_shared<Session>(request)) {
    const std::lock_guard lock(owner_.mutex_);
    do number_ = owner_.next_session_++;
    while (number_ == 0 || owner_.sessions_.contains(number_));
    session_->streams.begin(*owner_.channel_, number_);
    owner_.sessions_[number_] = session_;
  }
  ~RunningExec() override {
    if (executed_) kill();
    session_->streams.end();
    const std::lock_guard lock(owner_.mutex_);
    owner_.sessions_.erase(number_);
  }

  void start(const GuestCommand& command, Deadline deadline) {
    owner_.queue_exec(number_, command);
    executed_ = true;  // or may be, from now on
    owner_.channel_->flush(deadline);
    std::unique_lock lock(owner_.mutex_);
    const auto answered = [&] { return session_->executed || session_->failure || over(); };
    if (!owner_.wait_until(lock, deadline, answered)) {
      throw Error(Code::timeout, owner_.who_ + ": exec of '" + command_ + "': not executed at the deadline");
    }
    if (session_->failure) throw *session_->failure;
  }

  const Log& log() const override { return session_->streams.log(); }
  Input* input() override { return session_->streams.input(); }
  void signal(int number) override {
    {
      const std::lock_guard lock(owner_.mutex_);
      if (over()) throw Error(Code::conflict, owner_.who_ + ": exec of '" + command_ + "' has ended already");
    }
    guest::Signal message;
    message.number = number;
    owner_.channel_->post(message, number_);
  }
  std::optional<Exit> wait(Deadline deadline) override {
    std::unique_lock lock(owner_.mutex_);
    if (!owner_.wait_until(lock, deadline, [&] { return over(); })) return std::nullopt;
    if (!session_->exit) throw Error(Code::failed, owner_.who_ + ": the instance ended before exec of '" + command_ + "' did");
    return session_->exit;
  }

 private:
  bool over() const { return session_->exit || owner_.ended_ || owner_.exit_; }
  void kill() {
    try {
      signal(SIGKILL);
    } catch (const Error&) {  // NOLINT: it has ended
    }
  }

  Guest& owner_;
  const std::string command_;
  const std::shared_ptr<Session> session_;
  std::uint16_t number_ = 0;
  bool executed_ = false;
};

void Guest::queue_exec(std::uint16_t number, const GuestCommand& command) {
  const std::lock_guard lock(sending_);
  queue_command(*channel_, command);
  guest::Exec exec;
  exec.attributes = attributes_of(command);
  channel_->queue(exec, number);
}

std::unique_ptr<Exec> Guest::start_exec(const ExecRequest& request, Deadline deadline) {
  if (request.command.empty()) throw Error(Code::invalid, who_ + ": exec without a command");
  const GuestCommand command = command_of(request, work_);
  auto exec = std::make_unique<RunningExec>(*this, request);
  exec->start(command, deadline);
  return exec;
}

void Guest::close_sessions() {
  std::map<std::uint16_t, std::shared_ptr<Session>> sessions;
  {
    const std::lock_guard lock(mutex_);
    sessions = sessions_;
  }
  for (const auto& [number, session] : sessions) session->streams.end();
}

}  // namespace tare::vm
