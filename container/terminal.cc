// SPDX-License-Identifier: Apache-2.0
// The terminal of a workload, made by the workload's own process in the devpts that it sees, so that its name there is the right one. Every
// step goes by descriptor: what lies in /dev/pts of a running instance is its own doing (CVE-2025-52565).
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "container/child.h"
#include "core/fd.h"

namespace tare::container::terminal {
namespace {

Fd open_in(int root, const char* path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
  return Fd(static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how)));
}

Fd open_master(int root, StepReport& report) {
  constexpr const char* kMultiplexer = "/dev/pts/ptmx";
  Fd place = open_in(root, kMultiplexer, O_PATH);  // opening a node that somebody else put there may do anything
  report.check(place.get(), kMultiplexer);
  struct stat status {};
  struct statfs system {};
  report.check(fstat(place.get(), &status), kMultiplexer);
  report.check(fstatfs(place.get(), &system), kMultiplexer);
  if (system.f_type != DEVPTS_SUPER_MAGIC || !S_ISCHR(status.st_mode) || status.st_rdev != makedev(5, 2)) {
    report.fail(ENODEV, kMultiplexer);
  }
  Fd master = open_in(root, kMultiplexer, O_RDWR | O_NOCTTY | O_NONBLOCK);
  report.check(master.get(), kMultiplexer);
  report.check(fstatfs(master.get(), &system), kMultiplexer);
  if (system.f_type != DEVPTS_SUPER_MAGIC) report.fail(ENODEV, kMultiplexer);
  return master;
}

void send_master(int master, int socket, StepReport& report) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof master)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof master);
  std::memcpy(CMSG_DATA(head), &master, sizeof master);
  report.check(sendmsg(socket, &message, MSG_NOSIGNAL), "send");
}

}  // namespace

int open(const ChildSetup& setup, int root, StepReport& report) {
  const Fd master = open_master(root, report);
  int locked = 0;
  report.check(ioctl(master.get(), TIOCSPTLCK, &locked), "unlock");
  const int slave = ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  report.check(slave, "open");
  const winsize size{setup.plan.rows, setup.plan.columns, 0, 0};
  if (size.ws_row != 0 || size.ws_col != 0) report.check(ioctl(slave, TIOCSWINSZ, &size), "size");
  send_master(master.get(), setup.terminal, report);
  return slave;
}

// As runc does. /dev was mounted a moment ago and holds nothing but what we put there.
void bind_console(int terminal, int root, StepReport& report) {
  constexpr const char* kConsole = "/dev/console";
  const Fd dev = open_in(root, "/dev", O_PATH | O_DIRECTORY);
  report.check(dev.get(), "/dev");
  const Fd console(openat(dev.get(), "console", O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600));
  report.check(console.get(), kConsole);
  const Fd tree(static_cast<int>(syscall(SYS_open_tree, terminal, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)));
  report.check(tree.get(), kConsole);
  report.check(syscall(SYS_move_mount, tree.get(), "", console.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), kConsole);
}

}  // namespace tare::container::terminal
