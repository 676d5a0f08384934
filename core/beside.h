// SPDX-License-Identifier: Apache-2.0
// Work on a thread of its own that begins at once, on another processor than its caller's. A kernel may queue a new thread behind the one
// that made it although another processor is idle (to pack virtual processors, for one): then both would take their time one after the
// other.
#pragma once

#include <pthread.h>

#include <exception>
#include <functional>

namespace tare {

class Beside {
 public:
  /// `work` runs once. Throws Error(exhausted) where no thread can be made. The thread may run on every processor of the caller's once it
  /// has begun, and is the caller's to change otherwise: it ends with the work.
  explicit Beside(std::function<void()> work);
  /// Waits for its end.
  ~Beside();
  Beside(const Beside&) = delete;
  Beside& operator=(const Beside&) = delete;
  /// Waits for its end; throws what `work` threw. Once.
  void join();

 private:
  static void* run(void* self);

  const std::function<void()> work_;
  std::exception_ptr failure_;
  cpu_set_t processors_{};  // of the caller
  bool joined_ = false;
  pthread_t thread_{};
};

}  // namespace tare
