// SPDX-License-Identifier: Apache-2.0
#include "container/input_queue.h"

#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "container/protocol.h"

namespace tare::container {

std::size_t InputQueue::room() const { return kInputWindow - std::min<std::size_t>(kInputWindow, pending_.size()); }

bool InputQueue::push(std::string_view bytes, bool end) {
  if (bytes.size() > room()) return false;
  received_ += bytes.size();
  if (!open()) return true;
  if (!bytes.empty()) in_line_ = bytes.back() != '\n' && bytes.back() != '\r';
  pending_ += bytes;
  ended_ = end;
  return true;
}

void InputQueue::write() {
  std::size_t written = 0;
  while (fd_ && written < pending_.size()) {
    const ssize_t count = ::write(fd_.get(), pending_.data() + written, pending_.size() - written);
    if (count > 0) {
      written += static_cast<std::size_t>(count);
    } else if (count < 0 && errno == EINTR) {
      continue;
    } else if (count == 0 || errno == EAGAIN) {
      break;
    } else {
      return close();  // EPIPE: nobody reads; EIO: the terminal is gone
    }
  }
  pending_.erase(0, written);
  if (ended_ && fd_ && pending_.empty()) finish();
}

void InputQueue::finish() {
  if (!terminal_) return fd_.reset();
  ended_ = false;  // who comes next types on
  // What a terminal's driver reads as the end; a program that reads keys itself, as a shell does, knows it too. At the end of an unfinished
  // line it ends the line alone, so twice.
  termios settings{};
  if (tcgetattr(fd_.get(), &settings) != 0) return close();
  const bool reads_lines = (settings.c_lflag & ICANON) != 0;
  pending_.assign(in_line_ && reads_lines ? 2 : 1, static_cast<char>(settings.c_cc[VEOF]));
  in_line_ = false;
  write();
}

void InputQueue::close() {
  fd_.reset();
  pending_.clear();
}

}  // namespace tare::container
