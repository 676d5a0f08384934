// SPDX-License-Identifier: Apache-2.0
// A further process in a native instance: its streams are ours, not the launcher's, because it ends with the agent. One thread of its own
// moves them.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "container/input_queue.h"
#include "container/launcher.h"
#include "core/backend.h"

namespace tare::container {

/// Our ends and the child's, of pipes or, with a terminal, of the socket through which its master comes.
class ExecStreams {
 public:
  explicit ExecStreams(const ExecRequest& request);
  /// Sets the child's ends.
  void give(PlanFds& fds) const;
  /// After the start: the child's ends are closed, and ours are there. Throws Error(failed) without a terminal's master.
  void started(const std::string& who);

  Fd out, err;  // of a terminal: its master and nothing
  InputQueue input;

 private:
  const bool tty_;
  Fd child_in_, child_out_, child_err_;
  Fd terminal_;  // our end of the socket
};

class NativeExec final : public Exec {
 public:
  /// `note` is kept as long as it lives.
  NativeExec(std::string who, std::shared_ptr<Launcher> launcher, std::shared_ptr<NativeProcess> process, ExecStreams streams,
             bool has_input, std::shared_ptr<void> note);
  ~NativeExec() override;

  const Log& log() const override { return log_; }
  Input* input() override { return has_input_ ? &input_ : nullptr; }
  void signal(int number) override;
  std::optional<Exit> wait(Deadline deadline) override;

 private:
  class Feeder final : public Input {
   public:
    Feeder(NativeExec& exec, InputQueue queue) : exec_(exec), queue_(std::move(queue)) {}
    std::size_t write(std::string_view bytes) override;
    void close() override;
    void resize(TerminalSize size) override;
    /// The descriptor when something waits for room in it, else -1.
    int waiting();
    void pump();
    void end();

   private:
    NativeExec& exec_;
    std::mutex mutex_;
    InputQueue queue_;
  };
  void move_streams();
  bool read_some(Fd& fd, Stream stream);
  void wake() const;

  const std::string who_;
  const std::shared_ptr<Launcher> launcher_;
  const std::shared_ptr<NativeProcess> process_;
  const bool has_input_;
  Log log_;
  Fd wake_;  // eventfd
  Fd out_, err_;
  Feeder input_;
  std::atomic<bool> over_ = false;
  std::atomic<bool> abandoned_ = false;
  std::shared_ptr<void> note_;
  std::thread mover_;  // last: it uses all of the above
};

}  // namespace tare::container
