// SPDX-License-Identifier: Apache-2.0
// The event loop of tare-launcher: connections, children, their streams. Single-threaded; owns everything it holds by descriptor.
#pragma once

#include <sys/types.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "container/child.h"
#include "container/input_queue.h"
#include "container/protocol.h"
#include "core/fd.h"
#include "core/log_writer.h"

namespace tare::container {

class LauncherLoop {
 public:
  /// `socket_path` empty: `socket` is the one connection, else it listens at that path. From then on the process has no mounts of the
  /// host's but those that lead to it and to `state`: leave_mounts().
  LauncherLoop(int socket, std::string socket_path, const std::string& state);
  ~LauncherLoop();
  /// Returns the exit code of the program.
  int run();

 private:
  struct Connection {
    Fd fd;
    std::deque<std::string> outgoing;  // what the socket would not take yet
    bool blocked = false;              // it is watched for room
  };
  struct Process {
    Plan plan;
    pid_t pid = -1;
    std::uint64_t request = 0;
    int asked_by = -1;  // connection that waits for the start; -1 when it is answered or gone
    std::int64_t launched = 0;
    std::int64_t executed = 0;  // 0 while it has not
    int parked_by = -1;         // connection that has it wait before its execve; -1 when it does not
    Fd report;
    Fd terminal;  // with a terminal that is ours: the socket through which its master comes
    Fd out;       // of a terminal: its master
    Fd err;
    InputQueue input;
    std::uint64_t input_told = 0;    // how much of it the agent knows to be taken
    int input_watched = -1;          // descriptor
    std::unique_ptr<LogWriter> log;  // null with a plan that brought descriptors
    bool log_open = false;           // a stream may bring more
    std::uint64_t log_told = 0;      // size of the last notice
    bool followed = false;           // the workload waits for who reads its log
    std::uint64_t log_read = 0;
    bool held = false;  // its streams are not read now
    std::uint64_t log_size() const { return log ? log->size() : 0; }
    std::optional<Ended> ended;
    bool forgotten = false;  // nobody asks for its end any more
  };
  using Processes = std::map<std::string, std::unique_ptr<Process>>;

  void watch(int fd, std::uint32_t events, bool change = false);
  void handle(int fd, std::uint32_t events);
  void accept_connection();
  void greet(Connection& connection);
  void drop(int connection);
  void discard(const std::string& key);
  void send(int connection, std::string message);
  void send_all(const std::string& message);
  void flush(Connection& connection);
  void receive(int connection);
  void obey(int connection, std::string_view message, std::vector<Fd> fds);

  void start(int connection, const StartRequest& request, std::vector<Fd> fds);
  /// The child's ends; ours to close after the clone.
  struct ChildEnds {
    Fd in, out, err;
  };
  void make_streams(Process& process, ChildSetup& setup, ChildEnds& ends);
  void launch(Process& process, const StartRequest& request, const std::vector<Fd>& fds);
  void go(int connection, const Go& request);
  void signal(int connection, const SignalRequest& request);
  void forget(const Forget& request);
  void erase(const std::string& key);

  void read_report(Process& process);
  void read_stream(Process& process, Fd& stream, std::uint32_t number);
  void drain(Process& process);
  void tell_log(Process& process);
  void log_read(const LogRead& message);
  void hold_streams(Process& process, bool held);
  void take_terminal(Process& process);
  void feed(int connection, const Feed& message);
  void write_input(Process& process);
  void watch_input(Process& process);
  void unwatch_input(Process& process);
  void close_input(Process& process);
  void tell_input(Process& process);
  void resize(const Resize& message);
  void reap();
  void end(Process& process);
  void end_everything();
  bool idle() const;
  bool unreachable() const;

  Fd init_;  // our own program, for PID 1 of who asks for one

  Fd epoll_;
  Fd signals_;
  Fd listener_;
  std::string socket_path_;
  Fd null_;
  std::map<int, Connection> connections_;
  Processes processes_;
  std::map<int, std::pair<Process*, std::uint32_t>> streams_;  // descriptor → whose, and which: 0 report, 1 out, 2 err, 3 input
  bool ending_ = false;
};

}  // namespace tare::container
