// SPDX-License-Identifier: Apache-2.0
#include "container/attributes.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "container/capabilities.h"

namespace tare::container {
namespace {

bool may_raise_limits() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  return ::syscall(SYS_capget, &header, sets) == 0 && (sets[0].effective & capability_bit(CAP_SYS_RESOURCE)) != 0;
}

/// A default of ours: it gives way to what this process cannot exceed.
ProcessAttributes::Limit standard(int resource, std::uint64_t soft, std::uint64_t hard) {
  rlimit own{};
  if (!may_raise_limits() && ::getrlimit(static_cast<__rlimit_resource>(resource), &own) == 0)
    hard = std::min<std::uint64_t>(hard, own.rlim_max);
  return {resource, std::min(soft, hard), hard};
}

}  // namespace

ProcessAttributes attributes_of(const image::User& user, const Workload& workload) {
  ProcessAttributes attributes{user.uid, user.gid, user.groups, workload.umask, {}};
  attributes.limits = {standard(RLIMIT_CORE, 0, 0), standard(RLIMIT_NOFILE, 1024, 524288)};
  for (const Ulimit& limit : workload.ulimits) {
    const auto* row =
        std::find_if(std::begin(kUlimitNames), std::end(kUlimitNames), [&](const UlimitName& known) { return known.name == limit.name; });
    if (row == std::end(kUlimitNames)) continue;  // the suite's reader knows the same names
    std::erase_if(attributes.limits, [&](const auto& known) { return known.resource == row->resource; });
    attributes.limits.push_back({row->resource, limit.soft, limit.hard});
  }
  return attributes;
}

std::string text_of_user(const ProcessAttributes& attributes) {
  std::string text = "uid " + std::to_string(attributes.uid) + ", gid " + std::to_string(attributes.gid) + ", groups ";
  for (const std::uint32_t group : attributes.groups) text += std::to_string(group) + ",";
  text.pop_back();
  return text;
}

}  // namespace tare::container
