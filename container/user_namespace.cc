// SPDX-License-Identifier: Apache-2.0
#include "container/user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "core/error.h"
#include "core/files.h"
#include "core/id_range.h"

namespace tare::container {
namespace {

constexpr const char* kHint = "the kernel needs CONFIG_USER_NS, and /proc/sys/user/max_user_namespaces above the number in use";

/// A process of a moment that shares this one's memory, since a thread cannot enter a user namespace of its own. While it lives no signal
/// reaches it: a handler would run in our memory under a foreign process id.
class Moment {
 public:
  Moment(int (*body)(void*), int flags, void* argument) {
    sigset_t all;
    sigfillset(&all);
    sigset_t before;
    ::pthread_sigmask(SIG_BLOCK, &all, &before);
    // Without a signal at its end nobody else's wait finds it.
    pid_ = ::clone(body, stack_.data() + stack_.size(), CLONE_VM | flags, argument);
    const int error = errno;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = error;
  }
  Moment(const Moment&) = delete;
  Moment& operator=(const Moment&) = delete;
  ~Moment() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) continue;
  }
  pid_t pid() const { return pid_; }

 private:
  alignas(16) std::array<char, std::size_t{32} * 1024> stack_;  // NOLINT: no need to be cleared
  pid_t pid_ = -1;
};

/// Waits to be killed, by its owner or by the end of its owner's thread. Calls that cannot fail: errno is the owner's.
int stay(void* owner) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != *static_cast<pid_t*>(owner)) ::_exit(0);
  for (;;) ::pause();
}

struct NetworkOrder {
  int user_namespace;
  int made = -1;
  int error = 0;
};

/// The owner is suspended meanwhile and shares its descriptors.
int open_new_network(void* argument) {
  auto& order = *static_cast<NetworkOrder*>(argument);
  if (::setns(order.user_namespace, CLONE_NEWUSER) != 0 || ::unshare(CLONE_NEWNET) != 0) {
    order.error = errno;
  } else {
    order.made = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    order.error = order.made < 0 ? errno : 0;
  }
  ::_exit(0);
}

}  // namespace

Fd make_user_namespace(std::uint32_t first) {
  pid_t self = ::getpid();
  const Moment holder(stay, CLONE_NEWUSER, &self);
  if (holder.pid() < 0) throw_errno("user namespace", kHint);
  const std::string directory = "/proc/" + std::to_string(holder.pid());
  const std::string map = "0 " + std::to_string(first) + " " + std::to_string(kIdsEach) + "\n";
  write_kernel_file(directory + "/uid_map", map);
  write_kernel_file(directory + "/gid_map", map);
  return open_file(directory + "/ns/user", O_RDONLY);
}

Fd make_network_namespace(int user_namespace) {
  NetworkOrder order{user_namespace};
  const Moment maker(open_new_network, CLONE_VFORK | CLONE_FILES, &order);
  if (maker.pid() < 0) throw_errno("network namespace", "the limit of processes is reached");
  if (order.error != 0) {
    throw Error(code_of_errno(order.error), errno_text("network namespace of a user namespace", order.error),
                "a limit of /proc/sys/user/max_*_namespaces is reached, or tare is not root");
  }
  return Fd(order.made);
}

void map_ids(int tree, int user_namespace, unsigned flags, const std::string& path) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<__u64>(user_namespace);
  if (::mount_setattr(tree, "", AT_EMPTY_PATH | flags, &attributes, sizeof attributes) == 0) return;
  const int error = errno;
  throw Error(error == EINVAL || error == ENOSYS ? Code::unsuited : code_of_errno(error), errno_text("map the ids of " + path, error),
              "`userns: auto` needs idmapped mounts (MOUNT_ATTR_IDMAP): ext4 and xfs have them since Linux 5.12, btrfs 5.15, tmpfs 6.3; "
              "keep it on such a file system, or leave `userns` at host");
}

void check_user_namespace(const Workload& workload, bool is_container, const std::string& who) {
  if (!is_container) {
    throw Error(Code::unsuited, who + " cannot have `userns: auto`: its users are the host's by definition",
                "leave backend metal out, or `userns` at host");
  }
  const auto refuse = [&](std::string_view space, const std::string& why) {
    throw Error(Code::unsuited, who + " cannot share the host's " + std::string(space) + " namespace with `userns: auto`: " + why,
                "leave `userns` at host, or let it have its own");
  };
  const auto shares = [&](Namespace space) {
    return std::find(workload.host_namespaces.begin(), workload.host_namespaces.end(), space) != workload.host_namespaces.end();
  };
  if (shares(Namespace::pid)) refuse("pid", "the kernel mounts /proc only for who owns the PID namespace");
  if (shares(Namespace::ipc)) refuse("ipc", "the kernel mounts /dev/mqueue only for who owns the IPC namespace");
  if (shares(Namespace::net) || workload.network == Network::host) {
    refuse("net", "the kernel mounts /sys only for who owns the network namespace");
  }
}

void check_ids(const ProcessAttributes& attributes, const std::string& who) {
  const auto check = [&](const char* what, std::uint32_t id) {
    if (id < kIdsEach) return;
    throw Error(Code::unsuited, who + ": " + what + " " + std::to_string(id) + " is beyond the 65536 ids of a user namespace",
                "leave `userns` at host, or take ids below 65536");
  };
  check("user", attributes.uid);
  check("group", attributes.gid);
  for (const std::uint32_t group : attributes.groups) check("group", group);
}

}  // namespace tare::container
