// SPDX-License-Identifier: Apache-2.0
#include "guest/child.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace tare::guest {
namespace {

// What a container gets: the set that OCI engines agreed on.
constexpr std::uint64_t bit(unsigned capability) { return std::uint64_t{1} << capability; }
constexpr std::uint64_t kCapabilities = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FSETID) | bit(CAP_FOWNER) | bit(CAP_MKNOD) |
                                        bit(CAP_NET_RAW) | bit(CAP_SETGID) | bit(CAP_SETUID) | bit(CAP_SETFCAP) | bit(CAP_SETPCAP) |
                                        bit(CAP_NET_BIND_SERVICE) | bit(CAP_SYS_CHROOT) | bit(CAP_KILL) | bit(CAP_AUDIT_WRITE);

// Each returns nullptr, or the step that failed with errno set.

const char* connect_streams(const Attributes& attributes, const ChildStreams& streams) noexcept {
  if (streams.in >= 0 && dup2(streams.in, STDIN_FILENO) < 0) return "redirection of input";
  if (dup2(streams.out, STDOUT_FILENO) < 0 || dup2(streams.err, STDERR_FILENO) < 0) return "redirection of output";
  if (attributes.tty != 0 && ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0) return "controlling terminal";
  return nullptr;
}

// As the container's side and Docker do for a working directory that the image lacks. Changes `path` while it works.
const char* enter_directory(char* path) noexcept {
  constexpr const char* kStep = "change to the working directory";
  if (path == nullptr || chdir(path) == 0) return nullptr;
  if (errno != ENOENT || *path == '\0') return kStep;
  for (char* at = path + 1; *at != '\0'; ++at) {
    if (*at != '/') continue;
    *at = '\0';
    mkdir(path, 0755);  // that it is there afterwards is what counts
    *at = '/';
  }
  mkdir(path, 0755);
  return chdir(path) == 0 ? nullptr : kStep;
}

const char* set_limits(const Command& command) noexcept {
  for (const Limit& limit : command.limits()) {
    const rlimit value{limit.soft, limit.hard};
    if (setrlimit(static_cast<__rlimit_resource>(limit.resource), &value) != 0) return "resource limits";
  }
  return nullptr;
}

// Who opens /dev/stdout opens the pipe anew and needs a right to. A terminal's group stays tty.
bool give_streams(const Attributes& attributes) noexcept {
  const gid_t group = attributes.tty != 0 ? static_cast<gid_t>(-1) : attributes.gid;
  const bool has_stdin = attributes.tty != 0 || attributes.open_stdin != 0;
  if (has_stdin && fchown(STDIN_FILENO, attributes.uid, group) != 0) return false;
  return fchown(STDOUT_FILENO, attributes.uid, group) == 0 && fchown(STDERR_FILENO, attributes.uid, group) == 0;
}

const char* limit_bounding_set() noexcept {
  for (unsigned capability = 0; capability <= 63; ++capability) {
    if ((kCapabilities & bit(capability)) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      if (errno == EINVAL) break;  // past the last one that this kernel knows
      return "drop of capabilities";
    }
  }
  return nullptr;
}

// With another user than root permitted and effective set become empty here, as Docker has it; the bounding set stays.
const char* become_user(const Command& command, const Attributes& attributes) noexcept {
  if (attributes.uid != 0 && !give_streams(attributes)) return "handing over of the streams";
  const auto groups = command.groups();
  if (syscall(SYS_setgroups, groups.size(), groups.data()) != 0) return "set of the groups";
  if (syscall(SYS_setresgid, attributes.gid, attributes.gid, attributes.gid) != 0) return "set of the group";
  if (syscall(SYS_setresuid, attributes.uid, attributes.uid, attributes.uid) != 0) return "set of the user";
  return nullptr;
}

const char* limit_capabilities() noexcept {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return "read of capabilities";
  for (unsigned half = 0; half < 2; ++half) {
    sets[half].permitted &= static_cast<std::uint32_t>(kCapabilities >> (32 * half));
    sets[half].effective = sets[half].permitted;
    sets[half].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, sets) != 0) return "set of capabilities";
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? nullptr : "no_new_privs";
}

const char* path_variable(char* const* environment) noexcept {
  for (; *environment != nullptr; ++environment) {
    if (std::strncmp(*environment, "PATH=", 5) == 0) return *environment + 5;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

// execve of the program; of argv[0] in PATH when no program was named. Returns only on failure, with errno set.
const char* execute(const Command& command) noexcept {
  char* const* arguments = command.arguments();
  const char* program = command.program() != nullptr ? command.program() : arguments[0];
  if (command.program() != nullptr || std::strchr(program, '/') != nullptr) {
    execve(program, arguments, command.environment());
    return "execve";
  }
  int seen = ENOENT;
  for (const char* rest = path_variable(command.environment()); *rest != '\0';) {
    const std::size_t length = std::strcspn(rest, ":");
    char path[4096];
    const int size = std::snprintf(path, sizeof path, "%.*s/%s", static_cast<int>(length), rest, program);
    if (size > 0 && static_cast<std::size_t>(size) < sizeof path) execve(path, arguments, command.environment());
    if (errno != ENOENT && errno != ENOTDIR) seen = errno;
    rest += length;
    if (*rest == ':') ++rest;
  }
  errno = seen;
  return "execve";
}

void reset_signals() noexcept {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
}

}  // namespace

void become(const Command& command, const Attributes& attributes, const ChildStreams& streams, int report_fd) noexcept {
  reset_signals();
  setsid();
  umask(022);
  const char* step = connect_streams(attributes, streams);
  if (step == nullptr) step = enter_directory(command.directory());
  umask(attributes.umask);
  if (step == nullptr) step = set_limits(command);
  if (step == nullptr && attributes.restricted != 0) step = limit_bounding_set();
  if (step == nullptr) step = become_user(command, attributes);
  if (step == nullptr && attributes.restricted != 0) step = limit_capabilities();
  if (step == nullptr) step = execute(command);
  ChildReport report;
  report.number = errno;
  std::snprintf(report.step, sizeof report.step, "%s", step);
  _exit(write(report_fd, &report, sizeof report) < 0 ? 126 : 127);
}

}  // namespace tare::guest
