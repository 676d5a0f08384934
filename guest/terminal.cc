// SPDX-License-Identifier: Apache-2.0
#include "guest/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>

namespace tare::guest::terminal {

bool open(Ends& ends) noexcept {
  ends.master = ::open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (ends.master < 0) return false;
  int locked = 0;
  if (ioctl(ends.master, TIOCSPTLCK, &locked) == 0) ends.slave = ioctl(ends.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (ends.slave >= 0) return true;
  close(ends.master);
  ends.master = -1;
  return false;
}

void resize(int fd, std::uint16_t rows, std::uint16_t columns) noexcept {
  const winsize size{rows, columns, 0, 0};
  ioctl(fd, TIOCSWINSZ, &size);  // of a pipe: ENOTTY
}

bool bind_console(int master) noexcept {
  unsigned number = 0;
  if (ioctl(master, TIOCGPTN, &number) != 0) return false;
  char path[32];
  std::snprintf(path, sizeof path, "/dev/pts/%u", number);
  const int console = ::open("/dev/console", O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600);
  if (console < 0) return false;
  close(console);
  return mount(path, "/dev/console", nullptr, MS_BIND, nullptr) == 0;
}

}  // namespace tare::guest::terminal
