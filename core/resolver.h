// SPDX-License-Identifier: Apache-2.0
// /etc/resolv.conf of an instance.
#pragma once

#include <string>

#include "core/workload.h"

namespace tare {

struct Resolver {
  std::string text;  // the file
  std::string note;  // what is missing, as a sentence; empty when nothing is
};

/// `shares_host`: the instance has the host's network, whatever the workload asks for (metal). Pure: `host` is the host's resolv.conf,
/// `upstream` the file in which a local resolver such as systemd-resolved lists its own name servers.
Resolver resolver_of(const Workload& workload, bool shares_host, const std::string& host, const std::string& upstream);
/// The same from the files of this host.
Resolver resolver_of(const Workload& workload, bool shares_host);

}  // namespace tare
