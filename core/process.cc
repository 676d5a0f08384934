// SPDX-License-Identifier: Apache-2.0
#include "core/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "core/error.h"
#include "core/files.h"

extern char** environ;  // NOLINT: the name POSIX gives it

namespace tare {
namespace {

std::string signal_name(int number) {
  const char* abbreviation = ::sigabbrev_np(number);
  return abbreviation == nullptr ? "signal " + std::to_string(number) : "signal " + std::to_string(number) + " (SIG" + abbreviation + ")";
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));  // NOLINT: execve's type, not its meaning
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> environment_with(const std::vector<std::string>& extra) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view key = text.substr(0, text.find('=') + 1);
    const bool replaced = std::any_of(extra.begin(), extra.end(), [&](const std::string& e) { return e.starts_with(key); });
    if (!replaced) all.emplace_back(text);
  }
  all.insert(all.end(), extra.begin(), extra.end());
  return all;
}

// What the child needs, made ready before vfork: between vfork and execve nothing allocates.
struct Launch {
  const char* program;
  char* const* argv;
  char* const* environment;
  std::array<int, 3> fds;
  bool die_with_parent;
  bool new_session;
  pid_t parent;
  sigset_t signals;
};

[[noreturn]] void in_child(const Launch& launch, volatile int& error) {
  // dup2 to itself would leave FD_CLOEXEC set, so move through a high copy first.
  std::array<int, 3> high{};
  for (int i = 0; i < 3; ++i) high[static_cast<std::size_t>(i)] = ::fcntl(launch.fds[static_cast<std::size_t>(i)], F_DUPFD_CLOEXEC, 3);
  for (int i = 0; i < 3; ++i) ::dup2(high[static_cast<std::size_t>(i)], i);
  // Libraries open what they do not mark: a child that outlives us would hold our listening socket.
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  if (launch.new_session) ::setsid();
  if (launch.die_with_parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != launch.parent) ::_exit(127);
  }
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &launch.signals, nullptr);
  ::execve(launch.program, launch.argv, launch.environment);
  error = errno;
  ::_exit(127);
}

// Both streams until their ends or the deadline. False at the deadline.
bool collect(std::array<pollfd, 2> polls, std::array<std::string*, 2> texts, Deadline deadline) {
  std::array<char, 65536> chunk;
  while (polls[0].fd >= 0 || polls[1].fd >= 0) {
    if (deadline.passed()) return false;
    ::poll(polls.data(), polls.size(), deadline.poll_timeout());
    for (std::size_t i = 0; i < 2; ++i) {
      if (polls[i].fd < 0 || polls[i].revents == 0) continue;
      const ssize_t n = ::read(polls[i].fd, chunk.data(), chunk.size());
      if (n > 0)
        texts[i]->append(chunk.data(), static_cast<std::size_t>(n));
      else if (n == 0 || errno != EINTR)
        polls[i].fd = -1;
    }
  }
  return true;
}

}  // namespace

std::string text_of(const Exit& exit) {
  if (exit.oom) return "killed: out of memory";
  return exit.signaled ? signal_name(exit.code) : "exit code " + std::to_string(exit.code);
}

Child Child::spawn(const Options& options) {
  const auto program = find_program(options.argv.at(0));
  if (!program) {
    throw Error(Code::unavailable, "program '" + options.argv[0] + "' was not found in PATH",
                "install it; `tare doctor` names the package");
  }
  const Fd null = open_file("/dev/null", O_RDWR);
  const auto environment = environment_with(options.extra_environment);
  const auto argv = pointers(options.argv);
  const auto envp = pointers(environment);
  const auto or_null = [&](int fd) { return fd < 0 ? null.get() : fd; };
  Launch launch{program->c_str(),
                argv.data(),
                envp.data(),
                {or_null(options.stdin_fd), or_null(options.stdout_fd), or_null(options.stderr_fd)},
                options.die_with_parent,
                options.new_session,
                ::getpid(),
                {}};
  // With all signals blocked no handler of ours runs in the child while it shares our memory.
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &launch.signals);
  volatile int error = 0;
  const pid_t pid = ::vfork();
  if (pid == 0) in_child(launch, error);
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &launch.signals, nullptr);
  if (pid < 0) throw Error(code_of_errno(fork_error), errno_text("start " + *program, fork_error));
  Child child(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
  if (error != 0) throw Error(Code::unavailable, errno_text("execute " + *program, error));
  if (!child.pidfd_) throw_errno("watch " + *program);
  return child;
}

Child& Child::operator=(Child other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  return *this;
}

Child::~Child() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Child::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

std::optional<Exit> Child::wait(Deadline deadline) {
  pollfd poll{pidfd_.get(), POLLIN, 0};
  while (::poll(&poll, 1, deadline.poll_timeout()) <= 0) {
    if (deadline.passed()) return std::nullopt;
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFSIGNALED(status)) return Exit{WTERMSIG(status), true, false};
  return Exit{WEXITSTATUS(status), false, false};
}

std::optional<std::string> process_identity(pid_t pid) {
  const auto stat = try_read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!stat) return std::nullopt;
  // The command name in field 2 may hold spaces and ')'. Field 3 is the state, field 22 "starttime" in clock ticks since boot (proc(5)).
  std::size_t at = stat->rfind(')');
  if (at == std::string::npos || at + 2 >= stat->size() || (*stat)[at + 2] == 'Z' || (*stat)[at + 2] == 'X') return std::nullopt;
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat->find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  return std::to_string(pid) + " " + stat->substr(at + 1, stat->find(' ', at + 1) - at - 1);
}

bool is_alive(std::string_view identity) {
  pid_t pid = 0;
  std::from_chars(identity.data(), identity.data() + identity.size(), pid);
  return pid > 0 && process_identity(pid) == identity;
}

Output run_tool(const std::vector<std::string>& argv, Deadline deadline) {
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0) throw_errno("make a pipe");
  const Fd out_read(out[0]);
  Fd out_write(out[1]);
  if (::pipe2(err.data(), O_CLOEXEC) != 0) throw_errno("make a pipe");
  const Fd err_read(err[0]);
  Fd err_write(err[1]);
  Child::Options options;
  options.argv = argv;
  options.stdout_fd = out_write.get();
  options.stderr_fd = err_write.get();
  Child child = Child::spawn(options);
  out_write.reset();
  err_write.reset();
  Output output;
  const bool ended = collect({pollfd{out_read.get(), POLLIN, 0}, pollfd{err_read.get(), POLLIN, 0}}, {&output.out, &output.err}, deadline);
  const auto exit = ended ? child.wait(deadline) : std::nullopt;
  if (!exit) throw Error(Code::timeout, argv[0] + " did not end in time");
  output.exit = *exit;
  return output;
}

std::string check_tool(const std::vector<std::string>& argv, Deadline deadline) {
  Output output = run_tool(argv, deadline);
  if (output.exit.ok()) return std::move(output.out);
  std::string last;
  std::istringstream lines(output.err);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) last = line;
  }
  throw Error(Code::failed, argv[0] + " ended with " + text_of(output.exit) + (last.empty() ? "" : ": " + last));
}

std::optional<std::string> find_program(const std::string& program) {
  if (program.find('/') != std::string::npos) {
    return ::access(program.c_str(), X_OK) == 0 ? std::optional(program) : std::nullopt;
  }
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): no thread sets it
  std::istringstream folders(path == nullptr ? "/usr/sbin:/usr/bin:/sbin:/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string candidate = folder + "/" + program;
    if (!folder.empty() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

}  // namespace tare
