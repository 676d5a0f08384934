// SPDX-License-Identifier: Apache-2.0
// An owned file descriptor. Every descriptor in tare is opened with O_CLOEXEC and held by an Fd.
#pragma once

#include <unistd.h>

#include <utility>

namespace tare {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd other) noexcept {  // what this held before dies with `other`
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept { Fd gone(std::move(*this)); }

 private:
  int fd_ = -1;
};

}  // namespace tare
