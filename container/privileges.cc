// SPDX-License-Identifier: Apache-2.0
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "container/child.h"
#include "core/ulimits.h"

namespace tare::container::privileges {
namespace {

void set_limits(const ProcessAttributes& attributes, StepReport& report) {
  for (const ResourceLimit& limit : attributes.limits) {
    const rlimit64 value{limit.soft, limit.hard};
    if (syscall(SYS_prlimit64, 0, limit.resource, &value, nullptr) == 0) continue;
    const int error = errno;
    for (const UlimitName& row : kUlimitNames) {
      if (row.resource == limit.resource) report.fail(error, row.name.data());
    }
  }
}

// With another user than root permitted and effective set become empty here, as Docker has it; the bounding set stays.
void become_user(const Plan& plan, StepReport& report) {
  const ProcessAttributes& attributes = plan.attributes;
  // Who opens /dev/stdout opens the pipe anew and needs a right to. A user namespace cannot give away the launcher's pipes: it did so.
  const bool gives = plan.tty || !plan.isolation.has_own_ids();
  if (attributes.uid != 0 && gives) {
    const gid_t group = plan.tty ? static_cast<gid_t>(-1) : attributes.gid;  // a terminal's is tty
    if (plan.tty || plan.open_stdin) report.check(fchown(STDIN_FILENO, attributes.uid, group), "stdin");
    report.check(fchown(STDOUT_FILENO, attributes.uid, group), "stdout");
    report.check(fchown(STDERR_FILENO, attributes.uid, group), "stderr");
  }
  report.check(syscall(SYS_setgroups, attributes.groups.size(), attributes.groups.data()), "groups");
  report.check(syscall(SYS_setresgid, attributes.gid, attributes.gid, attributes.gid), "group");
  report.check(syscall(SYS_setresuid, attributes.uid, attributes.uid, attributes.uid), "user");
}

void limit_bounding_set(std::uint64_t keep, StepReport& report) {
  for (int i = 0; prctl(PR_CAPBSET_READ, i) >= 0; ++i) {  // fails after the last one that the kernel knows
    if ((keep >> i & 1) == 0) report.check(prctl(PR_CAPBSET_DROP, i), "bounding set");
  }
}

void limit_capabilities(std::uint64_t keep, StepReport& report) {
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

void raise_limits(const ProcessAttributes& attributes) {
  for (const ResourceLimit& limit : attributes.limits) {
    rlimit64 value{};
    if (syscall(SYS_prlimit64, 0, limit.resource, nullptr, &value) != 0 || value.rlim_max >= limit.hard) continue;
    value.rlim_max = limit.hard;
    syscall(SYS_prlimit64, 0, limit.resource, &value, nullptr);
  }
}

void become_root_of_namespace(StepReport& report) {
  report.check(syscall(SYS_setgroups, 0, nullptr), "groups");
  report.check(syscall(SYS_setresgid, 0, 0, 0), "group");
  report.check(syscall(SYS_setresuid, 0, 0, 0), "user");
}

void join_new_keyring(const Plan& plan, StepReport& report) {
  report.at("session keyring");
  if (plan.isolation.own_keyring) report.check(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr));
}

void in_child(const Plan& plan, StepReport& report) {
  const Isolation& isolation = plan.isolation;
  report.at("resource limits");
  set_limits(plan.attributes, report);
  report.at("capabilities");
  limit_bounding_set(isolation.capabilities, report);
  report.at("user");
  become_user(plan, report);
  report.at("capabilities");
  limit_capabilities(isolation.capabilities, report);
  report.at("no new privileges");
  if (isolation.no_new_privileges) report.check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

}  // namespace tare::container::privileges
