// SPDX-License-Identifier: Apache-2.0
// The handlers of /tare/v1/instances: they translate a request into a call on the registry and its result into an answer; nothing else.
#pragma once

#include "agent/instances.h"
#include "agent/router.h"

namespace tare::agent {

/// `instances` must outlive the router.
void add_instance_routes(Router& router, Instances& instances);

}  // namespace tare::agent
