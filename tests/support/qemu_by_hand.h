// SPDX-License-Identifier: Apache-2.0
// The QEMU that libvirt and the agent start for a plan, started by hand instead: the same machine, kernel, initramfs, disks and channel.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/paths.h"
#include "core/timeline.h"
#include "guest/protocol.h"
#include "vm/channel.h"
#include "vm/plan.h"

namespace tare::test {

class QemuByHand {
 public:
  /// `plan` without the files of one instance. `more` are further arguments of QEMU's.
  QemuByHand(Paths paths, vm::VmPlan plan, std::vector<std::string> more = {});

  struct Boot {
    Instant requested;
    guest::Hello hello;  // the guest's first message
    vm::ClockMap clock;  // after five exchanges
  };
  /// One machine from its request to the five exchanges that map its clock; it is gone afterwards. `meanwhile` is called before it goes.
  /// Throws Error with what its console says when it does not get there in half a minute.
  Boot boot(const std::function<void()>& meanwhile = {}) const;

 private:
  Paths paths_;
  vm::VmPlan plan_;
  std::vector<std::string> more_;
};

}  // namespace tare::test
