// SPDX-License-Identifier: Apache-2.0
#include "guest/input_queue.h"

#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tare::guest {

void InputQueue::begin(int fd, bool terminal, std::span<char, kCapacity> buffer) noexcept {
  close();
  pending_ = buffer.data();
  fd_ = fd;
  terminal_ = terminal;
  received_ = 0;
  ended_ = in_line_ = false;
}

bool InputQueue::push(std::string_view bytes) noexcept {
  if (bytes.size() > kInputWindow || bytes.size() > kCapacity - size_) return false;
  received_ += bytes.size();
  if (!open()) return true;
  if (bytes.empty()) return true;
  in_line_ = bytes.back() != '\n' && bytes.back() != '\r';
  std::memcpy(pending_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
  return true;
}

void InputQueue::write() noexcept {
  std::size_t written = 0;
  while (fd_ >= 0 && written < size_) {
    const ssize_t count = ::write(fd_, pending_ + written, size_ - written);
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
  size_ -= written;
  std::memmove(pending_, pending_ + written, size_);
  if (ended_ && fd_ >= 0 && size_ == 0) finish();
}

void InputQueue::finish() noexcept {
  if (!terminal_) return close();
  ended_ = false;  // who comes next types on
  // What a terminal's driver reads as the end; a program that reads keys itself, as a shell does, knows it too. At the end of an unfinished
  // line it ends the line alone, so twice.
  termios settings{};
  if (tcgetattr(fd_, &settings) != 0) return close();
  const bool reads_lines = (settings.c_lflag & ICANON) != 0;
  size_ = in_line_ && reads_lines ? 2 : 1;
  std::memset(pending_, settings.c_cc[VEOF], size_);
  in_line_ = false;
  write();
}

void InputQueue::close() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  size_ = 0;
}

}  // namespace tare::guest
