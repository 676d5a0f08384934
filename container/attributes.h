// SPDX-License-Identifier: Apache-2.0
// As whom a workload runs and under which resource limits, from what it asks for and what this process may grant. Any thread.
#pragma once

#include "container/plan.h"
#include "core/workload.h"
#include "image/user.h"

namespace tare::container {

/// core 0 and nofile 1024:524288 unless the workload says otherwise; without CAP_SYS_RESOURCE at most our own hard limit.
ProcessAttributes attributes_of(const image::User& user, const Workload& workload);
/// image::text_of() of its user.
std::string text_of_user(const ProcessAttributes& attributes);

}  // namespace tare::container
