// SPDX-License-Identifier: Apache-2.0
#include "container/launcher.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "container/sentence.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

constexpr int kSendBuffer = 1 << 20;

Error gone_error() {
  return Error(Code::unavailable, "tare-launcher has ended: nobody can tell any more what became of its processes",
               "see `dmesg` for why, and start the agent again");
}

/// /proc/self/fd/<n>/launcher.sock: the run directory's own path may be longer than a socket address can hold.
sockaddr_un address_in(int directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/launcher.sock";
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

Fd packet_socket() {
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno("socket");
  return fd;
}

/// A connected socket, or nothing when nobody listens.
Fd try_connect(const sockaddr_un& address) {
  Fd fd = packet_socket();
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  if (errno == ECONNREFUSED || errno == ENOENT) return Fd();
  throw_errno("connect to the launcher");
}

Child spawn(const Paths& paths, const std::vector<std::string>& arguments, int socket) {
  Child::Options options;
  options.argv = {paths.libexec / "tare-launcher"};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.stdin_fd = socket;
  options.new_session = true;
  return Child::spawn(options);
}

}  // namespace

// NativeProcess -------------------------------------------------------------------------------------------------------------------

std::optional<End> NativeProcess::wait(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto over = [&] { return end_ || lost_; };
  if (deadline.at() == Deadline::never().at()) {
    changed_.wait(lock, over);
  } else if (!changed_.wait_for(lock, deadline.left(), over)) {
    return std::nullopt;
  }
  if (!end_) throw gone_error();
  return end_;
}

void NativeProcess::on_end(std::function<void(const End&)> callback) {
  const std::lock_guard lock(mutex_);
  if (end_ && callback) return callback(*end_);
  on_end_ = std::move(callback);
}

void NativeProcess::grew(std::uint64_t size, bool closed) {
  const std::lock_guard lock(tail_mutex_);
  tail_.read_to(size, log_);
  if (closed) log_.close();
}

void NativeProcess::ended(const Ended& message) {
  grew(message.log_size, !message.log_open);
  const std::lock_guard lock(mutex_);
  if (end_) return;
  const bool signaled = WIFSIGNALED(message.wait_status);
  end_ = End{{signaled ? WTERMSIG(message.wait_status) : WEXITSTATUS(message.wait_status), signaled, false},
             Instant{message.at},
             message.switches_voluntary,
             message.switches_involuntary};
  if (on_end_) on_end_(*end_);
  changed_.notify_all();
}

void NativeProcess::lost() {
  const std::lock_guard lock(mutex_);
  lost_ = true;
  log_.close();
  changed_.notify_all();
}

// Launcher ------------------------------------------------------------------------------------------------------------------------

std::unique_ptr<Launcher> Launcher::start_private(const Paths& paths) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw_errno("socketpair");
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  Child child = spawn(paths, {"--private"}, theirs.get());
  std::unique_ptr<Launcher> launcher(new Launcher(std::move(ours)));
  launcher->private_ = std::move(child);
  return launcher;
}

std::unique_ptr<Launcher> Launcher::connect(const Paths& paths) {
  std::filesystem::create_directories(paths.run);
  const FileLock lock = FileLock::wait(paths.run / "launcher.lock");
  const Fd directory = open_file(paths.run, O_PATH | O_DIRECTORY);
  const sockaddr_un address = address_in(directory.get());
  const std::string path = paths.run / "launcher.sock";
  for (int attempt = 0; attempt < 3; ++attempt) {
    Fd fd = try_connect(address);
    if (!fd) {
      ::unlink(path.c_str());
      const Fd listener = packet_socket();
      ::fchmod(listener.get(), 0600);  // the file that bind makes takes its mode from the socket
      if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(listener.get(), 8) != 0) {
        throw_errno("listen at " + path);
      }
      spawn(paths, {"--listen", path}, listener.get()).release();
      fd = try_connect(address);
    }
    try {
      if (fd) return std::unique_ptr<Launcher>(new Launcher(std::move(fd)));
    } catch (const Error& error) {
      if (error.code() != Code::unavailable) throw;  // it was about to end, idle, when we connected
    }
  }
  throw Error(Code::unavailable, "the launcher at " + path + " does not answer", "look for a tare-launcher process that hangs");
}

Launcher::Launcher(Fd socket) : socket_(std::move(socket)) {
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer, sizeof kSendBuffer);
  read_hello();
  reader_ = std::thread([this] { listen(); });
}

Launcher::~Launcher() {
  ::shutdown(socket_.get(), SHUT_RDWR);
  if (reader_.joinable()) reader_.join();
  if (private_)
    private_->wait(Deadline::in(std::chrono::seconds(10)));  // until all that it started is gone
  else
    ::waitpid(pid_, nullptr, WNOHANG);  // no zombie of ours, if it has ended
}

void Launcher::read_hello() {
  std::string buffer(kLargestMessage, '\0');
  const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  Hello hello;
  if (size <= 0) throw gone_error();
  if (!decode(std::string_view(buffer).substr(0, static_cast<std::size_t>(size)), hello) || hello.version != kProtocolVersion) {
    throw Error(Code::conflict, "the launcher that is running belongs to another version of tare",
                "stop its workloads, then end it: kill the process tare-launcher");
  }
  pid_ = hello.pid;
  for (const Known& entry : hello.known) {
    auto process = std::make_shared<NativeProcess>(entry.key, entry.log);
    process->pid_ = entry.pid;
    process->launched_ = Instant{entry.launched};
    process->executed_ = Instant{entry.executed};
    if (entry.ended) process->ended(*entry.ended);
    process->grew(entry.log_size, !entry.log_open);
    processes_[entry.key] = process;
  }
}

void Launcher::listen() {
  std::string buffer(kLargestMessage, '\0');
  for (;;) {
    const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    dispatch(std::string_view(buffer).substr(0, static_cast<std::size_t>(size)));
  }
  const std::lock_guard lock(mutex_);
  gone_ = true;
  replied_.notify_all();
  for (const auto& [key, process] : processes_) process->lost();
}

std::shared_ptr<NativeProcess> Launcher::find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = processes_.find(key);
  return found == processes_.end() ? nullptr : found->second;
}

void Launcher::dispatch(std::string_view message) {
  Started started;
  Refused refused;
  Done done;
  LogGrew log_grew;
  Ended ended;
  if (decode(message, log_grew)) {
    if (const auto process = find(log_grew.key)) process->grew(log_grew.size, log_grew.closed);
    return;
  }
  if (decode(message, ended)) {
    if (const auto process = find(ended.key)) process->ended(ended);
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto answer = [&](std::uint64_t request, auto&& fill) {
    const auto found = replies_.find(request);
    if (found == replies_.end()) return;  // nobody waits any more
    fill(found->second);
    replied_.notify_all();
  };
  if (decode(message, started)) answer(started.request, [&](Reply& reply) { reply.started = started; });
  if (decode(message, refused)) answer(refused.request, [&](Reply& reply) { reply.refused = refused; });
  if (decode(message, done)) answer(done.request, [&](Reply& reply) { reply.done = true; });
}

void Launcher::send(const std::string& message, const std::vector<int>& fds) {
  if (message.size() > kLargestMessage || fds.size() > kMostDescriptors) {
    throw Error(Code::invalid, "command line and environment are longer than 512 KiB", "shorten them");
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)] = {};
  iovec part{const_cast<char*>(message.data()), message.size()};  // NOLINT: sendmsg's type, not its meaning
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(head), fds.data(), sizeof(int) * fds.size());
  }
  const std::lock_guard lock(send_mutex_);
  if (::sendmsg(socket_.get(), &header, MSG_NOSIGNAL) >= 0) return;
  if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) throw gone_error();
  throw_errno("send to the launcher");
}

Launcher::Reply Launcher::ask(std::uint64_t request, const std::string& message, const std::vector<int>& fds, Deadline deadline) {
  {
    const std::lock_guard lock(mutex_);
    replies_[request];
  }
  const auto take = [&] {
    Reply reply = std::move(replies_[request]);
    replies_.erase(request);
    return reply;
  };
  try {
    send(message, fds);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    take();
    throw;
  }
  std::unique_lock lock(mutex_);
  const auto answered = [&] {
    const Reply& reply = replies_[request];
    return gone_ || reply.started || reply.refused || reply.done;
  };
  if (deadline.at() == Deadline::never().at()) {
    replied_.wait(lock, answered);
  } else {
    replied_.wait_for(lock, deadline.left(), answered);
  }
  Reply reply = take();
  if (gone_ && !reply.started && !reply.refused && !reply.done) throw gone_error();
  return reply;
}

std::shared_ptr<NativeProcess> Launcher::start(const Plan& plan, const PlanFds& fds, const std::string& who, Deadline deadline) {
  StartRequest request;
  request.plan = plan;
  request.tasks = static_cast<std::uint32_t>(fds.tasks.size());
  request.trees = static_cast<std::uint32_t>(fds.trees.size());
  request.cgroup_directory = fds.cgroup_directory >= 0;
  request.netns = fds.netns >= 0;
  request.root = fds.root >= 0;
  request.seccomp = fds.seccomp >= 0;
  request.streams = plan.log.empty();
  std::vector<int> passed = fds.tasks;
  passed.insert(passed.end(), fds.trees.begin(), fds.trees.end());
  if (request.cgroup_directory) passed.push_back(fds.cgroup_directory);
  if (request.netns) passed.push_back(fds.netns);
  if (request.root) passed.push_back(fds.root);
  if (request.seccomp) passed.push_back(fds.seccomp);
  if (request.streams) passed.insert(passed.end(), {fds.out, fds.err});

  auto process = std::make_shared<NativeProcess>(plan.key, plan.log);
  {
    const std::lock_guard lock(mutex_);
    request.request = next_request_++;
    if (!processes_.emplace(plan.key, process).second) throw Error(Code::conflict, "process " + plan.key + " is there already");
  }
  try {
    const Reply reply = ask(request.request, encode(request), passed, deadline);
    if (reply.refused) throw error_of(*reply.refused, who);
    if (!reply.started) {
      signal(plan.key, SIGKILL);  // stuck in a step
      send(encode(Forget{plan.key}));
      throw Error(Code::timeout, who + ": not executed at the deadline");
    }
    process->pid_ = reply.started->pid;
    process->launched_ = Instant{reply.started->launched};
    process->executed_ = Instant{reply.started->executed};
  } catch (...) {
    const std::lock_guard lock(mutex_);
    processes_.erase(plan.key);
    throw;
  }
  return process;
}

void Launcher::signal(const std::string& key, int number) {
  SignalRequest request;
  {
    const std::lock_guard lock(mutex_);
    request.request = next_request_++;
  }
  request.key = key;
  request.number = number;
  const Reply reply = ask(request.request, encode(request), {}, Deadline::in(std::chrono::seconds(10)));
  if (reply.refused && reply.refused->error == ESRCH) throw Error(Code::conflict, "process " + key + " has ended already");
  if (reply.refused) throw error_of(*reply.refused, "process " + key);
  if (!reply.done) throw Error(Code::timeout, "the launcher does not answer");
}

void Launcher::forget(const std::string& key) {
  {
    const std::lock_guard lock(mutex_);
    processes_.erase(key);
    if (gone_) return;
  }
  send(encode(Forget{key}));
}

std::vector<std::shared_ptr<NativeProcess>> Launcher::known() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<NativeProcess>> list;
  for (const auto& [key, process] : processes_) list.push_back(process);
  return list;
}

}  // namespace tare::container
