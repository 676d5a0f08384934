// SPDX-License-Identifier: Apache-2.0
#include "container/launcher.h"

#include <fcntl.h>
#include <poll.h>
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

const std::string kGone = "tare-launcher has ended: nobody can tell any more what became of its processes";
const std::string kOtherVersion = "was ended, because its tare-launcher belonged to another version of tare";

Error gone_error() { return Error(Code::unavailable, kGone, "see `dmesg` for why"); }

/// Another version's launcher: what follows version and pid in its hello may mean anything.
struct OtherVersion {
  pid_t pid;
};

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
  options.argv.push_back(std::filesystem::absolute(paths.state));
  options.stdin_fd = socket;
  options.new_session = true;
  return Child::spawn(options);
}

/// SIGTERM to a launcher, and the end of its connection awaited: it takes along all that it started.
void end_launcher(pid_t pid, int socket) {
  if (try_read_file("/proc/" + std::to_string(pid) + "/comm").value_or("") != "tare-launcher\n") return;
  ::kill(pid, SIGTERM);
  pollfd end{socket, POLLIN, 0};
  const Deadline deadline = Deadline::in(std::chrono::seconds(10));
  char byte = 0;
  while (!deadline.passed() && ::poll(&end, 1, deadline.poll_timeout()) > 0 && ::recv(socket, &byte, 1, 0) > 0) {
  }
}

}  // namespace

std::unique_ptr<Launcher> Launcher::start_private(const Paths& paths) { return std::unique_ptr<Launcher>(new Launcher(paths, true)); }

std::unique_ptr<Launcher> Launcher::connect(const Paths& paths) { return std::unique_ptr<Launcher>(new Launcher(paths, false)); }

Launcher::Launcher(const Paths& paths, bool is_private) : paths_(paths), is_private_(is_private), why_gone_(kGone) { connect_anew(); }

Launcher::Link Launcher::open_private() const {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw_errno("socketpair");
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  Child child = spawn(paths_, {"--private"}, theirs.get());
  return {std::move(ours), std::move(child)};
}

Launcher::Link Launcher::open_shared() const {
  std::filesystem::create_directories(paths_.run);
  const FileLock lock = FileLock::wait(paths_.run / "launcher.lock");
  const Fd directory = open_file(paths_.run, O_PATH | O_DIRECTORY);
  const sockaddr_un address = address_in(directory.get());
  const std::string path = paths_.run / "launcher.sock";
  Fd fd = try_connect(address);
  if (!fd) {
    ::unlink(path.c_str());
    const Fd listener = packet_socket();
    ::fchmod(listener.get(), 0600);  // the file that bind makes takes its mode from the socket
    if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(listener.get(), 8) != 0) {
      throw_errno("listen at " + path);
    }
    spawn(paths_, {"--listen", path}, listener.get()).release();
    fd = try_connect(address);
  }
  return {std::move(fd), std::nullopt};
}

// A launcher that is about to end, idle, may still take a connection; one of another version is ended, with what it runs.
void Launcher::connect_anew() {
  for (int attempt = 0; attempt < 3; ++attempt) {
    Link link = is_private_ ? open_private() : open_shared();
    if (!link.socket) continue;
    try {
      const Hello hello = read_hello(link.socket.get());
      const std::lock_guard lock(mutex_);
      socket_ = std::move(link.socket);
      private_ = std::move(link.own);
      ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer, sizeof kSendBuffer);
      take(hello);
      gone_ = false;
      reader_ = std::thread([this] { listen(); });
      return;
    } catch (const OtherVersion& other) {
      why_gone_ = kOtherVersion;
      end_launcher(other.pid, link.socket.get());
    } catch (const Error& error) {
      if (error.code() != Code::unavailable) throw;
    }
  }
  throw Error(Code::unavailable, "the launcher in " + paths_.run.string() + " does not answer",
              "look for a tare-launcher process that hangs");
}

Launcher::~Launcher() {
  ::shutdown(socket_.get(), SHUT_RDWR);
  if (reader_.joinable()) reader_.join();
  if (private_)
    private_->wait(Deadline::in(std::chrono::seconds(10)));  // until all that it started is gone
  else
    ::waitpid(pid_, nullptr, WNOHANG);  // no zombie of ours, if it has ended
}

Hello Launcher::read_hello(int socket) const {
  std::string buffer(kLargestMessage, '\0');
  const ssize_t size = ::recv(socket, buffer.data(), buffer.size(), 0);
  if (size <= 0) throw gone_error();
  const std::string_view bytes = std::string_view(buffer).substr(0, static_cast<std::size_t>(size));
  Hello hello;
  const auto start = decode_start_of_hello(bytes);
  if (start && start->version != kProtocolVersion) throw OtherVersion{start->pid};
  if (!start || !decode(bytes, hello)) {
    throw Error(Code::conflict, "what listens at " + (paths_.run / "launcher.sock").string() + " is no tare-launcher", "end that process");
  }
  return hello;
}

void Launcher::take(const Hello& hello) {
  pid_ = hello.pid;
  processes_.clear();  // those of a launcher before have been told that they are lost
  for (const Known& entry : hello.known) {
    auto process = std::make_shared<NativeProcess>(entry.key, entry.log);
    acknowledge_by_us(*process);
    process->pid_ = entry.pid;
    process->launched_ = Instant{entry.launched};
    process->executed_ = Instant{entry.executed};
    process->input_.begin([this](const std::string& message) { send(message); }, entry.input_received, entry.input_taken, entry.input_open);
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
  std::vector<std::shared_ptr<NativeProcess>> processes;
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    replied_.notify_all();
    for (const auto& [key, process] : processes_) processes.push_back(process);
  }
  for (const auto& process : processes) process->lost(kGone);
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
  Fed fed;
  if (decode(message, fed)) {
    if (const auto process = find(fed.key)) process->input_.fed(fed);
    return;
  }
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
  return begin(plan, fds, false, who, deadline);
}

std::shared_ptr<NativeProcess> Launcher::park(const Plan& plan, const PlanFds& fds, const std::string& who, Deadline deadline) {
  return begin(plan, fds, true, who, deadline);
}

namespace {

/// Which descriptors come along, and these in the order that the launcher expects.
std::vector<int> list(const PlanFds& fds, StartRequest& request) {
  request.tasks = static_cast<std::uint32_t>(fds.tasks.size());
  request.trees = static_cast<std::uint32_t>(fds.trees.size());
  request.cgroup_directory = fds.cgroup_directory >= 0;
  request.netns = fds.netns >= 0;
  request.userns = fds.userns >= 0;
  request.root = fds.root >= 0;
  request.seccomp = fds.seccomp >= 0;
  request.streams = request.plan.log.empty();
  std::vector<int> passed = fds.tasks;
  passed.insert(passed.end(), fds.trees.begin(), fds.trees.end());
  if (request.cgroup_directory) passed.push_back(fds.cgroup_directory);
  if (request.netns) passed.push_back(fds.netns);
  if (request.userns) passed.push_back(fds.userns);
  if (request.root) passed.push_back(fds.root);
  if (request.seccomp) passed.push_back(fds.seccomp);
  if (request.streams && request.plan.tty) passed.push_back(fds.terminal);
  if (request.streams && !request.plan.tty) passed.insert(passed.end(), {fds.out, fds.err});
  if (request.streams && !request.plan.tty && request.plan.open_stdin) passed.push_back(fds.in);
  return passed;
}

}  // namespace

std::shared_ptr<NativeProcess> Launcher::begin(const Plan& plan, const PlanFds& fds, bool park, const std::string& who, Deadline deadline) {
  StartRequest request;
  request.plan = plan;
  request.park = park;
  const std::vector<int> passed = list(fds, request);
  auto process = std::make_shared<NativeProcess>(plan.key, plan.log);
  acknowledge_by_us(*process);
  connect_if_gone();
  {
    const std::lock_guard lock(mutex_);
    request.request = next_request_++;
    if (!processes_.emplace(plan.key, process).second) throw Error(Code::conflict, "process " + plan.key + " is there already");
  }
  try {
    const Started answer = started(ask(request.request, encode(request), passed, deadline), plan.key, who);
    process->pid_ = answer.pid;
    process->launched_ = Instant{answer.launched};
    process->executed_ = Instant{answer.executed};
    const bool fed_by_us = !request.streams && (plan.tty || plan.open_stdin);
    process->input_.begin([this](const std::string& bytes) { send(bytes); }, 0, 0, fed_by_us);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    processes_.erase(plan.key);
    throw;
  }
  return process;
}

Started Launcher::started(const Reply& reply, const std::string& key, const std::string& who) {
  if (reply.refused) throw error_of(*reply.refused, who);
  if (reply.started) return *reply.started;
  signal(key, SIGKILL);  // stuck in a step
  send(encode(Forget{key}));
  throw Error(Code::timeout, who + ": not executed at the deadline");
}

bool Launcher::go(NativeProcess& process, const std::string& who, Deadline deadline) {
  Go request;
  request.request = next_request();
  request.key = process.key();
  const Reply reply = ask(request.request, encode(request), {}, deadline);
  if (reply.refused && (reply.refused->error == ESRCH || reply.refused->error == ECHILD)) return false;
  const Started answer = started(reply, process.key(), who);
  process.launched_ = Instant{answer.launched};
  process.executed_ = Instant{answer.executed};
  return true;
}

std::uint64_t Launcher::next_request() {
  const std::lock_guard lock(mutex_);
  return next_request_++;
}

void Launcher::signal(const std::string& key, int number) {
  SignalRequest request;
  request.request = next_request();
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

void Launcher::connect_if_gone() {
  const std::lock_guard one_at_a_time(connect_mutex_);
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) return;
  }
  if (reader_.joinable()) reader_.join();
  if (!private_) ::waitpid(pid_, nullptr, WNOHANG);
  connect_anew();
}

std::shared_ptr<NativeProcess> Launcher::find_or_gone(const std::string& key, const std::string& log_path) {
  if (auto process = find(key)) return process;
  return NativeProcess::gone(key, log_path, why_gone_);
}

void Launcher::end_unclaimed(const std::set<std::string>& instances) {
  for (const auto& process : known()) {
    // An exec's output has nobody to read it any more.
    if (instances.contains(process->key())) continue;
    try {
      signal(process->key(), SIGKILL);
    } catch (const Error&) {  // NOLINT: it has ended
    }
    forget(process->key());
  }
}

void Launcher::acknowledge_by_us(NativeProcess& process) {
  process.acknowledge_ = [this, key = process.key()](std::uint64_t position) {
    try {
      send(encode(LogRead{key, position}));
    } catch (const Error&) {  // NOLINT: it is gone; nobody waits
    }
  };
}

std::vector<std::shared_ptr<NativeProcess>> Launcher::known() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<NativeProcess>> list;
  for (const auto& [key, process] : processes_) list.push_back(process);
  return list;
}

}  // namespace tare::container
