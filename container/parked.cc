// SPDX-License-Identifier: Apache-2.0
#include "container/parked.h"

#include "core/error.h"

namespace tare::container {

ParkedProcess& ParkedProcess::operator=(ParkedProcess other) noexcept {
  std::swap(launcher_, other.launcher_);
  std::swap(process_, other.process_);
  return *this;
}

ParkedProcess::~ParkedProcess() {
  if (!process_) return;
  try {
    launcher_->forget(process_->key());
  } catch (const Error&) {  // NOLINT: the launcher is gone, and the process with it
  }
}

bool ParkedProcess::alive() const {
  try {
    return !process_->wait(Deadline::in(std::chrono::nanoseconds(0)));
  } catch (const Error&) {
    return false;  // gone with its launcher
  }
}

}  // namespace tare::container
