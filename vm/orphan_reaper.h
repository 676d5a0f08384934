// SPDX-License-Identifier: Apache-2.0
// Reaps what libvirt leaves to the subreaper, this process, while one of its calls is under way.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace tare::vm {

/// libvirt asks short-lived QEMU processes what they can do, daemonises them and then waits, in steps of 200 ms and for up to half a
/// minute each, until somebody has reaped them. While this object lives, its thread reaps dead children of this process that are
/// named qemu-system-*, and no others: beginning `after` its construction, so that a quick call costs nothing.
class OrphanReaper {
 public:
  explicit OrphanReaper(std::chrono::milliseconds after);
  ~OrphanReaper();
  OrphanReaper(const OrphanReaper&) = delete;
  OrphanReaper& operator=(const OrphanReaper&) = delete;

 private:
  void run(std::chrono::milliseconds after);
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace tare::vm
