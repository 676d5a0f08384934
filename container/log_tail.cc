// SPDX-License-Identifier: Apache-2.0
#include "container/log_tail.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "container/protocol.h"

namespace tare::container {

void LogTail::read_to(std::uint64_t size, Log& log) {
  constexpr std::uint32_t kLargestFrame = 64 * 1024;  // twice what the launcher reads at once
  if (!file_ && size > 0 && !broken_) {
    file_ = Fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file_) {  // removed with the instance by an agent that found it without an owner
      broken_ = true;
      log.append(Stream::err, "tare: the log file cannot be opened; what was in it is lost\n", Instant::now());
      return;
    }
  }
  std::string buffer;
  while (!broken_ && position_ + sizeof(LogFrame) <= size) {
    LogFrame frame;
    if (pread(file_.get(), &frame, sizeof frame, static_cast<off_t>(position_)) != sizeof frame) return;
    if (frame.size > kLargestFrame || frame.stream < 1 || frame.stream > 2) {
      broken_ = true;
      log.append(Stream::err, "tare: the log file is damaged; what follows is lost\n", Instant::now());
      return;
    }
    buffer.resize(frame.size);
    const ssize_t got = pread(file_.get(), buffer.data(), frame.size, static_cast<off_t>(position_ + sizeof frame));
    if (got != static_cast<ssize_t>(frame.size)) return;
    log.append(frame.stream == 1 ? Stream::out : Stream::err, buffer, Instant{frame.at});
    position_ += sizeof frame + frame.size;
  }
}

}  // namespace tare::container
