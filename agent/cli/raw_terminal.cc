// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/raw_terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "core/error.h"

namespace tare::agent::cli {

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  if (::tcgetattr(fd_, &before_) != 0) throw Error(Code::usage, "stdin is no terminal", "leave out --tty");
  termios raw = before_;
  ::cfmakeraw(&raw);
  if (::tcsetattr(fd_, TCSADRAIN, &raw) != 0) throw_errno("set the terminal");
}

void RawTerminal::restore() noexcept {
  if (fd_ >= 0) ::tcsetattr(fd_, TCSADRAIN, &before_);
  fd_ = -1;
}

std::optional<TerminalSize> terminal_size(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return std::nullopt;
  return TerminalSize{size.ws_row, size.ws_col};
}

std::string DetachKeys::pass(std::string_view typed) {
  constexpr char kControlP = 0x10;
  constexpr char kControlQ = 0x11;
  std::string out;
  for (const char key : typed) {
    if (pressed_) break;
    if (held_ && key == kControlQ) {
      pressed_ = true;
      break;
    }
    if (held_) out += kControlP;
    held_ = key == kControlP;
    if (!held_) out += key;
  }
  return out;
}

}  // namespace tare::agent::cli
