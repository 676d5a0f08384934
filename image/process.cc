// SPDX-License-Identifier: Apache-2.0
#include "image/process.h"

#include <algorithm>

#include "core/error.h"

namespace tare::image {
namespace {

std::string_view key_of(std::string_view entry) { return entry.substr(0, entry.find('=')); }

std::vector<std::string> environment_of(const Workload& workload, const Image& image, const std::string& hostname, const User& user) {
  std::vector<std::string> merged;
  const auto find = [&](std::string_view key) {
    return std::find_if(merged.begin(), merged.end(), [&](const std::string& entry) { return key_of(entry) == key; });
  };
  const auto set = [&](const std::string& entry) {
    if (const auto old = find(key_of(entry)); old != merged.end()) merged.erase(old);
    merged.push_back(entry);
  };
  for (const std::string& entry : image.environment) set(entry);
  set("HOSTNAME=" + hostname);
  const auto home = find("HOME");
  if (home == merged.end() || *home == "HOME=") set("HOME=" + (!user.home.empty() ? user.home : workload.user.empty() ? "/root" : "/"));
  if (workload.tty && find("TERM") == merged.end()) set("TERM=xterm");
  for (const std::string& entry : workload.environment) set(entry);
  return merged;
}

/// What a mount brings is not in the image: the kernel tells whether it is there.
bool is_mounted(const Workload& workload, const std::string& program) {
  return std::any_of(workload.mounts.begin(), workload.mounts.end(),
                     [&](const Mount& mount) { return program == mount.target || program.starts_with(mount.target + "/"); });
}

}  // namespace

Process process_of(const Workload& workload, const Image& image, const std::string& hostname) {
  Process process;
  process.arguments = workload.command.empty() ? image.command : workload.command;
  if (process.arguments.empty()) {
    throw Error(Code::invalid, "workload '" + workload.name + "' has no command, and neither has image '" + workload.image + "'",
                "add `command:` to the workload");
  }
  process.user = resolve_user(image.layers, workload.user);
  process.environment = environment_of(workload, image, hostname, process.user);
  process.directory = !workload.working_directory.empty() ? workload.working_directory
                      : image.working_directory.empty()   ? "/"
                                                          : image.working_directory;
  const std::string& name = process.arguments[0];
  process.program = is_mounted(workload, name) ? name : find_command(image, name, process.environment, process.directory);
  return process;
}

}  // namespace tare::image
