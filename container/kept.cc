// SPDX-License-Identifier: Apache-2.0
#include "container/kept.h"

#include <sstream>

#include "container/protocol.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

constexpr const char* kPlanFile = "plan";
constexpr const char* kStartFile = "start";
constexpr const char* kLinkFile = "link";

}  // namespace

void keep(const Plan& plan, Start started_as, const InstanceDir& directory) {
  StartRequest request;
  request.plan = plan;
  directory.write(kPlanFile, encode(request));
  if (started_as != Start::cold) directory.write(kStartFile, name(started_as));
}

void keep(const netlink::Subnet& subnet, const InstanceDir& directory) {
  directory.write(kLinkFile, subnet.host + " " + subnet.instance + " " + std::to_string(subnet.prefix) + "\n");
}

Plan kept_plan(const InstanceDir& directory) {
  StartRequest request;
  if (!decode(read_file(directory.path() / kPlanFile), request)) {
    throw Error(Code::conflict, (directory.path() / kPlanFile).string() + " was written by another version of tare");
  }
  return request.plan;
}

std::optional<std::string> kept_start(const InstanceDir& directory) { return try_read_file(directory.path() / kStartFile); }

std::optional<netlink::Subnet> kept_subnet(const InstanceDir& directory) {
  const auto text = try_read_file(directory.path() / kLinkFile);
  if (!text) return std::nullopt;
  netlink::Subnet subnet;
  std::istringstream(*text) >> subnet.host >> subnet.instance >> subnet.prefix;
  return subnet;
}

}  // namespace tare::container
