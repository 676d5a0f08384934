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
ResourceLimit standard(ResourceLimit limit) {
  rlimit own{};
  if (!may_raise_limits() && ::getrlimit(static_cast<__rlimit_resource>(limit.resource), &own) == 0)
    limit.hard = std::min<std::uint64_t>(limit.hard, own.rlim_max);
  return {limit.resource, std::min(limit.soft, limit.hard), limit.hard};
}

}  // namespace

ProcessAttributes attributes_of(const image::User& user, const Workload& workload) {
  std::vector<ResourceLimit> limits;
  for (const ResourceLimit& limit : kStandardLimits) limits.push_back(standard(limit));
  return {user.uid, user.gid, user.groups, workload.umask, resource_limits(std::move(limits), workload.ulimits)};
}

std::string text_of_user(const ProcessAttributes& attributes) {
  return image::text_of({attributes.uid, attributes.gid, attributes.groups, {}});
}

}  // namespace tare::container
