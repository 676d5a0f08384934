// SPDX-License-Identifier: Apache-2.0
#include "container/native_input.h"

#include <algorithm>

#include "core/error.h"

namespace tare::container {

constexpr std::size_t kLargestPiece = 64 * 1024;  // of one message

void NativeInput::begin(Send send, std::uint64_t received, std::uint64_t taken, bool open) {
  const std::lock_guard lock(mutex_);
  sent_ = received;
  taken_ = taken;
  if (open && !over_) send_ = std::move(send);
}

void NativeInput::fed(const Fed& message) {
  {
    const std::lock_guard lock(mutex_);
    taken_ = std::max(taken_, message.taken);
    if (!message.open) send_ = {};
  }
  tell_room();
}

void NativeInput::end() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    send_ = {};
  }
  tell_room();
}

// With the lock held: pieces of two writers stay whole and in order.
void NativeInput::send(const std::string& message) {
  try {
    if (send_) send_(message);
  } catch (const Error&) {
    send_ = {};  // the launcher is gone, and the process with it
  }
}

std::size_t NativeInput::write(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (!send_) return bytes.size();
  const std::size_t room = kInputWindow - std::min<std::uint64_t>(kInputWindow, sent_ - taken_);
  std::size_t written = 0;
  while (written < std::min(bytes.size(), room)) {
    const std::string_view piece = bytes.substr(written, std::min(room - written, kLargestPiece));
    send(encode(Feed{key_, {std::string(piece)}, false}));
    written += piece.size();
    sent_ += piece.size();
  }
  return written;
}

void NativeInput::close() {
  const std::lock_guard lock(mutex_);
  send(encode(Feed{key_, {}, true}));
}

void NativeInput::resize(TerminalSize size) {
  const std::lock_guard lock(mutex_);
  send(encode(Resize{key_, size.rows, size.columns}));
}

}  // namespace tare::container
