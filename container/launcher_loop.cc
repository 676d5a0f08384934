// SPDX-License-Identifier: Apache-2.0
#include "container/launcher_loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <tuple>
#include <utility>

#include "container/launcher_system.h"
#include "container/receive.h"

namespace tare::container {
namespace {

Fd signal_descriptor() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

LauncherLoop::LauncherLoop(int socket, std::string socket_path, const std::string& state)
    : init_(open("/proc/self/exe", O_PATH | O_CLOEXEC)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      signals_(signal_descriptor()),
      socket_path_(std::move(socket_path)),
      null_(open("/dev/null", O_RDWR | O_CLOEXEC)) {
  std::vector<std::string> needed = {state};
  if (!socket_path_.empty()) needed.push_back(socket_path_);
  leave_mounts(needed);  // /dev is left, too: what we need of it is open
  watch(signals_.get(), EPOLLIN);
  if (socket_path_.empty()) {
    watch(socket, EPOLLIN);
    greet(connections_[socket] = Connection{Fd(socket), {}, false});
  } else {
    listener_ = Fd(socket);
    watch(socket, EPOLLIN);
  }
}

LauncherLoop::~LauncherLoop() = default;

int LauncherLoop::run() {
  bool greeted = !connections_.empty();
  while (!ending_) {
    epoll_event events[32];
    const int count = epoll_wait(epoll_.get(), events, 32, connections_.empty() ? 10'000 : -1);
    for (int i = 0; i < count; ++i) handle(events[i].data.fd, events[i].events);
    if (count == 0) greeted = true;  // whoever started us died before it connected
    if (count == 0 && unreachable()) ending_ = true;
    greeted = greeted || !connections_.empty();
    if (greeted && idle()) ending_ = true;
  }
  if (!socket_path_.empty()) unlink(socket_path_.c_str());
  end_everything();
  return 0;
}

// The run directory was removed: nobody can ever ask for the exit codes that are kept here.
bool LauncherLoop::unreachable() const {
  const bool all_ended =
      std::all_of(processes_.begin(), processes_.end(), [](const auto& entry) { return entry.second->ended.has_value(); });
  return all_ended && access(socket_path_.c_str(), F_OK) != 0;
}

bool LauncherLoop::idle() const { return connections_.empty() && (socket_path_.empty() || processes_.empty()); }

void LauncherLoop::watch(int fd, std::uint32_t events, bool change) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  epoll_ctl(epoll_.get(), change ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
}

void LauncherLoop::handle(int fd, std::uint32_t events) {
  if (fd == signals_.get()) return reap();
  if (fd == listener_.get()) return accept_connection();
  if (const auto stream = streams_.find(fd); stream != streams_.end()) {
    const auto [process, number] = stream->second;
    if (number == 0) return read_report(*process);
    if (number == 3) return write_input(*process);
    return read_stream(*process, number == 1 ? process->out : process->err, number);
  }
  const auto connection = connections_.find(fd);
  if (connection == connections_.end()) return;  // dropped by an earlier event of the same round
  if ((events & EPOLLOUT) != 0) flush(connection->second);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(fd);
}

// Connections ---------------------------------------------------------------------------------------------------------------------

void LauncherLoop::accept_connection() {
  Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return;
  const int number = fd.get();
  watch(number, EPOLLIN);
  greet(connections_[number] = Connection{std::move(fd), {}, false});
}

void LauncherLoop::greet(Connection& connection) {
  Hello hello;
  hello.pid = getpid();
  for (const auto& [key, process] : processes_) {
    if (process->executed == 0) continue;
    hello.known.push_back({key, process->pid, process->launched, process->executed, process->plan.log, process->log_size(),
                           process->out || process->err, process->input.received(), process->input.taken(), process->input.open(),
                           process->ended});
    process->input_told = process->input.taken();
  }
  send(connection.fd.get(), encode(hello));
}

void LauncherLoop::drop(int connection) {
  connections_.erase(connection);
  std::vector<std::string> over;  // parked ones: nobody knows any more what they wait for
  for (auto& [key, process] : processes_) {
    if (process->asked_by == connection) process->asked_by = -1;
    if (process->parked_by == connection) over.push_back(key);
    process->followed = false;
    hold_streams(*process, false);
  }
  for (const std::string& key : over) discard(key);
}

void LauncherLoop::discard(const std::string& key) {
  Process& process = *processes_.at(key);
  if (!process.ended) kill(process.pid, SIGKILL);
  forget(Forget{key});
}

void LauncherLoop::send(int connection, std::string message) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  found->second.outgoing.push_back(std::move(message));
  if (found->second.outgoing.size() == 1) flush(found->second);
}

void LauncherLoop::send_all(const std::string& message) {
  for (const auto& [fd, connection] : connections_) send(fd, message);
}

void LauncherLoop::flush(Connection& connection) {
  while (!connection.outgoing.empty()) {
    const std::string& message = connection.outgoing.front();
    if (::send(connection.fd.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      if (errno == EAGAIN) {
        connection.blocked = true;
        return watch(connection.fd.get(), EPOLLIN | EPOLLOUT, true);
      }
      if (errno != EINTR) connection.outgoing.clear();  // it is gone; its end is read soon
      continue;
    }
    connection.outgoing.pop_front();
  }
  if (!std::exchange(connection.blocked, false)) return;
  watch(connection.fd.get(), EPOLLIN, true);
  for (auto& [key, process] : processes_) tell_log(*process);  // notices that were left out while it was slow
}

void LauncherLoop::receive(int connection) {
  std::string message;
  std::vector<Fd> fds;
  switch (receive_message(connection, message, fds)) {
    case Received::nothing: return;
    case Received::end: return drop(connection);
    case Received::message: return obey(connection, message, std::move(fds));
  }
}

void LauncherLoop::obey(int connection, std::string_view message, std::vector<Fd> fds) {
  StartRequest start_request;
  Go go_request;
  SignalRequest signal_request;
  Forget forget_request;
  LogRead log_read_notice;
  Feed feed_message;
  Resize resize_request;
  if (decode(message, start_request)) return start(connection, start_request, std::move(fds));
  if (decode(message, go_request)) return go(connection, go_request);
  if (decode(message, signal_request)) return signal(connection, signal_request);
  if (decode(message, forget_request)) return forget(forget_request);
  if (decode(message, log_read_notice)) return log_read(log_read_notice);
  if (decode(message, feed_message)) return feed(connection, feed_message);
  if (decode(message, resize_request)) return resize(resize_request);
  drop(connection);  // not one of ours: nothing it says next can be trusted
}

// Requests ------------------------------------------------------------------------------------------------------------------------

void LauncherLoop::start(int connection, const StartRequest& request, std::vector<Fd> fds) {
  const auto refuse = [&](const char* step, int error, const std::string& detail) {
    send(connection, encode(Refused{request.request, step, error, detail}));
  };
  if (fds.size() != request.descriptors()) return refuse("receive descriptors", EBADMSG, "");
  if (processes_.contains(request.plan.key)) return refuse("start", EEXIST, request.plan.key);
  auto process = std::make_unique<Process>();
  process->plan = request.plan;
  process->request = request.request;
  process->asked_by = connection;
  try {
    launch(*process, request, fds);
  } catch (const LaunchFailure& failure) {
    return refuse(failure.step, failure.error, failure.detail);
  }
  Process& entry = *(processes_[request.plan.key] = std::move(process));
  for (const auto& [fd, number] : {std::pair{entry.report.get(), 0U}, {entry.out.get(), 1U}, {entry.err.get(), 2U}}) {
    if (fd < 0) continue;
    streams_[fd] = {&entry, number};
    watch(fd, EPOLLIN);
  }
}

void LauncherLoop::make_streams(Process& process, ChildSetup& setup, ChildEnds& ends) {
  if (process.plan.tty) {
    std::tie(process.terminal, ends.out) = make_socket_pair();
    setup.terminal = ends.out.get();
    return;
  }
  std::tie(process.out, ends.out) = make_pipe();
  std::tie(process.err, ends.err) = make_pipe();
  setup.out = ends.out.get();
  setup.err = ends.err.get();
  if (!process.plan.open_stdin) return;
  Fd feeding;
  std::tie(ends.in, feeding) = make_pipe();
  fcntl(ends.in.get(), F_SETFL, 0);
  fcntl(feeding.get(), F_SETFL, O_NONBLOCK);
  process.input = InputQueue(std::move(feeding), false);
  setup.in = ends.in.get();
}

void LauncherLoop::launch(Process& process, const StartRequest& request, const std::vector<Fd>& fds) {
  ChildSetup setup(process.plan);
  setup.has_low_oom_score = has_low_oom_score();
  std::size_t next = 0;
  for (; next < request.tasks; ++next) setup.tasks.push_back(fds[next].get());
  for (std::uint32_t i = 0; i < request.trees; ++i) setup.trees.push_back(fds[next++].get());
  const int cgroup = request.cgroup_directory ? fds[next++].get() : -1;
  if (request.netns) setup.netns = fds[next++].get();
  if (request.userns) setup.userns = fds[next++].get();
  if (request.root) setup.root = fds[next++].get();
  if (request.seccomp) setup.seccomp = fds[next++].get();

  ChildEnds ends;
  if (request.streams) {
    if (process.plan.tty) {
      setup.terminal = fds[next++].get();
    } else {
      setup.out = fds[next++].get();
      setup.err = fds[next++].get();
      if (process.plan.open_stdin) setup.in = fds[next++].get();
    }
  } else {
    try {
      process.log = std::make_unique<LogWriter>(process.plan.log, process.plan.log_max_size, process.plan.log_max_files);
    } catch (const std::system_error& error) {
      throw LaunchFailure{"open log", error.code().value(), process.plan.log};
    }
    process.log_open = true;
    make_streams(process, setup, ends);
  }
  if (process.plan.init) setup.init = init_.get();
  Fd report;
  setup.park = request.park;
  std::tie(process.report, report) = request.park ? make_channel() : make_pipe();
  setup.report = report.get();
  if (setup.in < 0) setup.in = null_.get();

  Fd joined;
  Fd joined_root;
  if (!process.plan.join.empty()) {
    const auto target = processes_.find(process.plan.join);
    if (target == processes_.end() || target->second->ended || target->second->executed == 0)
      throw LaunchFailure{"join", ESRCH, process.plan.join};
    joined = open_pidfd(target->second->pid);
    setup.join = joined.get();
    joined_root = open_root_of(target->second->pid);
    setup.join_root = joined_root.get();
    process.plan.isolation = target->second->plan.isolation;
  }
  if (process.plan.isolation.has_own_ids()) {
    if (setup.userns < 0 && setup.join < 0) throw LaunchFailure{"user namespace", EBADMSG, ""};  // it would be the host's root
    give_streams(setup);
  }
  process.pid = clone_child(setup, cgroup);
  process.launched = monotonic_now();
}

void LauncherLoop::go(int connection, const Go& request) {
  const auto found = processes_.find(request.key);
  const auto refuse = [&](int error) { send(connection, encode(Refused{request.request, "wait for its start", error, request.key})); };
  if (found == processes_.end() || found->second->parked_by != connection || !found->second->report) return refuse(ESRCH);
  Process& process = *found->second;
  process.launched = monotonic_now();
  if (write(process.report.get(), "g", 1) != 1) return refuse(ESRCH);
  process.parked_by = -1;
  process.asked_by = connection;
  process.request = request.request;
}

void LauncherLoop::signal(int connection, const SignalRequest& request) {
  const auto found = processes_.find(request.key);
  int error = 0;
  if (found == processes_.end() || found->second->ended) {
    error = ESRCH;
  } else if (kill(found->second->pid, request.number) != 0) {
    error = errno;
  }
  if (error == 0) return send(connection, encode(Done{request.request}));
  send(connection, encode(Refused{request.request, "signal", error, request.key}));
}

void LauncherLoop::forget(const Forget& request) {
  const auto found = processes_.find(request.key);
  if (found == processes_.end()) return;
  found->second->forgotten = true;
  if (found->second->ended) erase(request.key);
}

void LauncherLoop::erase(const std::string& key) {
  const auto found = processes_.find(key);
  for (const Fd* fd : {&found->second->report, &found->second->out, &found->second->err}) streams_.erase(fd->get());
  unwatch_input(*found->second);
  processes_.erase(found);
}

// Children ------------------------------------------------------------------------------------------------------------------------

void LauncherLoop::read_report(Process& process) {
  StepFailure failure;
  const ssize_t count = read(process.report.get(), &failure, sizeof failure);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  const std::int64_t now = monotonic_now();
  if (count == 1) {
    process.parked_by = process.asked_by;
    send(process.asked_by, encode(Started{process.request, process.pid, process.launched, 0}));
    process.asked_by = -1;
    if (process.parked_by < 0) discard(process.plan.key);  // who asked is gone
    return;
  }
  streams_.erase(process.report.get());
  process.report.reset();
  if (process.parked_by >= 0) return;  // killed while it waited: its end is told as that of any process
  if (count == 0 && !died_before_execve(process.pid)) {
    process.executed = now;
    take_terminal(process);
    send(process.asked_by, encode(Started{process.request, process.pid, process.launched, process.executed}));
    process.asked_by = -1;
    tell_log(process);  // an init is at its close of the report while its command writes already
    return;
  }
  if (count == sizeof failure) {
    failure.step.back() = failure.detail.back() = '\0';
    send(process.asked_by, encode(Refused{process.request, failure.step.data(), failure.error, failure.detail.data()}));
  } else {
    send(process.asked_by, encode(Refused{process.request, "start", ECHILD, "killed before it was executed"}));
  }
  process.asked_by = -1;
  const pid_t pid = process.pid;  // it is about to _exit, or has
  erase(std::string(process.plan.key));
  wait4(pid, nullptr, 0, nullptr);
}

void LauncherLoop::reap() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGCHLD) ending_ = true;
  }
  siginfo_t dead{};
  while (waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT) == 0 && dead.si_pid != 0) {
    Process* process = nullptr;
    for (auto& [key, entry] : processes_) {
      if (entry->pid == dead.si_pid && !entry->ended) process = entry.get();
    }
    if (process == nullptr) {
      wait4(dead.si_pid, nullptr, 0, nullptr);  // an orphan of a workload
    } else {
      end(*process);
    }
    dead.si_pid = 0;
  }
}

void LauncherLoop::end(Process& process) {
  const std::int64_t now = monotonic_now();
  const std::string key = process.plan.key;
  if (process.executed == 0 && process.parked_by < 0) {  // its report is in the pipe: executed and gone since, or a failed step
    read_report(process);
    if (!processes_.contains(key)) return;
  }
  int status = 0;
  rusage used{};
  wait4(process.pid, &status, 0, &used);
  drain(process);
  close_input(process);
  process.ended = Ended{process.plan.key,
                        status,
                        now,
                        static_cast<std::uint64_t>(used.ru_nvcsw),
                        static_cast<std::uint64_t>(used.ru_nivcsw),
                        process.log_size(),
                        process.out || process.err,
                        process.log ? process.log->lost() : 0};
  send_all(encode(*process.ended));
  if (process.forgotten) erase(key);
}

void LauncherLoop::end_everything() {
  for (auto& [key, process] : processes_) {
    if (!process->ended) kill(process->pid, SIGKILL);
  }
  kill_descendants();
}

}  // namespace tare::container
