// SPDX-License-Identifier: Apache-2.0
// From a seccomp profile to the program that the kernel runs at each system call. Compiled by libseccomp in the agent, once for each
// profile and set of capabilities; the launcher, which has to stay small, and the child only hand it on. Any thread.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "container/isolation.h"
#include "container/seccomp_profile.h"
#include "core/fd.h"

namespace tare::container {

/// The program for x86-64, x32 and i386, for a workload with these capabilities on this kernel. Throws Error(invalid) for a call that no
/// kernel knows, Error(internal) with what libseccomp refused.
std::vector<sock_filter> seccomp_program(const SeccompProfile& profile, std::uint64_t capabilities, KernelVersion kernel);

KernelVersion running_kernel();

/// Programs as sealed memory files, ready to be sent along with a plan; each is made on first use and kept. Thread-safe.
class SeccompFilters {
 public:
  /// A file that nobody can change any more: an array of sock_filter. Owned by this object.
  int of(const SeccompProfile& profile, std::uint64_t capabilities);

 private:
  std::mutex mutex_;
  std::map<std::pair<std::string, std::uint64_t>, Fd> files_;
};

/// Those of this process.
SeccompFilters& seccomp_filters();
/// The file that belongs to `isolation` among them; -1 for one without a filter.
int seccomp_file(const Isolation& isolation);

}  // namespace tare::container
