// SPDX-License-Identifier: Apache-2.0
// tare-launcher: the parent of every metal and container workload of this host. One small single-threaded process that outlives the
// agent: it starts (clone3), reaps, appends output to log files, and keeps exit codes until somebody has seen them.
//
//   tare-launcher --listen PATH   standard input is the listening socket at PATH; ends when nothing runs and nobody is connected
//   tare-launcher --private       standard input is the one connection; ends, and ends all it started, when that closes
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "container/launcher_loop.h"

namespace {

/// The socket came as descriptor 0; it moves away so that 0–2 are /dev/null in us and in nobody's way in a child.
int take_socket() {
  const int socket = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (socket < 0 || null < 0) return -1;
  for (int fd = 0; fd <= 2; ++fd) dup2(null, fd);
  if (null > 2) close(null);
  return socket;
}

}  // namespace

int main(int count, char** arguments) {
  const bool listens = count == 3 && std::string_view(arguments[1]) == "--listen";
  const bool is_private = count == 2 && std::string_view(arguments[1]) == "--private";
  if (!listens && !is_private) {
    std::fputs("tare-launcher is started by tare; usage: tare-launcher --listen PATH | --private, with a socket as standard input\n",
               stderr);
    return 2;
  }
  const int socket = take_socket();
  if (socket < 0) return 2;
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_NAME, "tare-launcher");
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // what a metal workload leaves behind stays below us, where it can be found and ended
  return tare::container::LauncherLoop(socket, is_private ? "" : arguments[2]).run();
}
