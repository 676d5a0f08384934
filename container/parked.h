// SPDX-License-Identifier: Apache-2.0
// What core/parking.h keeps of native instances.
#pragma once

#include <memory>

#include "container/native_instance.h"
#include "core/parking.h"

namespace tare::container {

/// A process right before its execve. Forgotten, as its control group ends it, unless it is released.
class ParkedProcess {
 public:
  ParkedProcess() = default;
  ParkedProcess(std::shared_ptr<Launcher> launcher, std::shared_ptr<NativeProcess> process)
      : launcher_(std::move(launcher)), process_(std::move(process)) {}
  ParkedProcess(ParkedProcess&&) noexcept = default;
  ParkedProcess& operator=(ParkedProcess other) noexcept;
  ~ParkedProcess();
  bool alive() const;
  const std::shared_ptr<NativeProcess>& get() const { return process_; }
  std::shared_ptr<NativeProcess> release() { return std::move(process_); }

 private:
  std::shared_ptr<Launcher> launcher_;
  std::shared_ptr<NativeProcess> process_;
};

/// What was made beforehand for one instance.
struct Parked {
  NativeResources resources;  // pooled: directory, root file system and control group; zygote: all of them
  Fd users;                   // pooled, with Userns::automatic: the user namespace
  Fd netns;                   // pooled, where the workload has one with loopback alone
  Plan plan;                  // zygote
  ParkedProcess process;      // zygote
  bool usable() const { return !process.get() || process.alive(); }
  void when_gone(std::shared_ptr<void> after) { resources.after = std::move(after); }
};

}  // namespace tare::container
