// SPDX-License-Identifier: Apache-2.0
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "container/child.h"

namespace tare::container::seccomp {

Program map(const ChildSetup& setup, StepReport& report) {
  report.at("seccomp filter");
  if (setup.plan.isolation.seccomp.empty()) return {};
  if (setup.seccomp < 0) report.fail(EINVAL, "the plan brings none");  // never without a filter that was asked for
  struct stat status {};
  report.check(fstat(setup.seccomp, &status), "size");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0 || size % sizeof(sock_filter) != 0 || size / sizeof(sock_filter) > BPF_MAXINSNS) report.fail(EINVAL, "size");
  void* const address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, setup.seccomp, 0);
  if (address == MAP_FAILED) report.fail(errno, "map");
  return {address, static_cast<unsigned short>(size / sizeof(sock_filter))};
}

void install(const Program& program, StepReport& report) {
  if (program.count == 0) return;
  report.at("seccomp filter");
  struct {
    unsigned short count;
    const void* instructions;
  } const code{program.count, program.instructions};  // a sock_fprog of read-only memory
  // Without the flag the kernel slows the workload down by its mitigation of Spectre variant 4, where that is on "seccomp".
  report.check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &code));
}

}  // namespace tare::container::seccomp
