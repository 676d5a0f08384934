// SPDX-License-Identifier: Apache-2.0
#include "container/overlay.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>

#include "container/sentence.h"
#include "core/error.h"

namespace tare::container {
namespace {

void refuse_separators(const std::string& path) {
  if (path.find_first_of(",:\\") == std::string::npos) return;
  throw Error(Code::invalid, "overlay of " + path + ": the path has a comma, colon or backslash",
              "use a directory without these characters");
}

}  // namespace

Fd mount_overlay(const Overlay& overlay, const std::string& who) {
  refuse_separators(overlay.lower);
  refuse_separators(overlay.directory);
  const auto check = [&](int result) {
    if (result < 0) throw error_of({0, "mount overlay", errno, "over " + overlay.lower}, who);
  };
  const Fd context(::fsopen("overlay", FSOPEN_CLOEXEC));
  check(context.get());
  const auto set = [&](const char* key, const std::string& value) {
    check(::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0));
  };
  set("source", "overlay");  // what the mount table calls it
  set("lowerdir", overlay.lower);
  set("upperdir", overlay.directory + "/upper");
  set("workdir", overlay.directory + "/work");
  // No sync at unmount: the upper layer dies with the instance.
  check(::fsconfig(context.get(), FSCONFIG_SET_FLAG, "volatile", nullptr, 0));
  check(::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0));
  Fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, overlay.devices ? 0U : unsigned{MOUNT_ATTR_NODEV}));
  check(mount.get());
  return mount;
}

}  // namespace tare::container
