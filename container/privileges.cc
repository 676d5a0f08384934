// SPDX-License-Identifier: Apache-2.0
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/child.h"

namespace tare::container::privileges {
namespace {

void limit_capabilities(std::uint64_t keep, StepReport& report) {
  for (int i = 0; prctl(PR_CAPBSET_READ, i) >= 0; ++i) {  // fails after the last one that the kernel knows
    if ((keep >> i & 1) == 0) report.check(prctl(PR_CAPBSET_DROP, i), "bounding set");
  }
  report.check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient set");

  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  report.check(syscall(SYS_capget, &header, sets), "read");
  for (unsigned half = 0; half < 2; ++half) {
    sets[half].permitted &= static_cast<std::uint32_t>(keep >> (32 * half));
    sets[half].effective = sets[half].permitted;
    sets[half].inheritable = 0;  // an inheritable set survives execve of files with capabilities (CVE-2022-24769)
  }
  report.check(syscall(SYS_capset, &header, sets), "write");
}

}  // namespace

void in_child(const Plan& plan, StepReport& report) {
  const Isolation& isolation = plan.isolation;
  report.at("session keyring");
  if (isolation.own_keyring) report.check(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr));
  report.at("capabilities");
  limit_capabilities(isolation.capabilities, report);
  report.at("no new privileges");
  if (isolation.no_new_privileges) report.check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

}  // namespace tare::container::privileges
